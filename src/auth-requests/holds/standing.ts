import { literals } from '../../database/literals';
import { type AuthRequestStatus } from '../statuses';
import { type Hold } from './hold';
import { type HoldState } from './states';

/** The states in which a hold may still stand, or its money was taken although nobody needed it. */
export const STANDING_STATES = ['held', 'voiding', 'void_failed', 'captured'] as const satisfies HoldState[];

/** One of them. */
export type StandingState = (typeof STANDING_STATES)[number];

/**
 * Why a hold is on the list.
 *
 * - `needed`: `held` by a request that is open, or AUTHORIZED by it.
 * - `voiding`: nobody needs it, and a void is on its way.
 * - `void_failed`: the processor did not void it. For a person.
 * - `captured_unneeded`: the money was taken although nobody needed it. For a person.
 * - `never_voided`: `held`, and nobody needs it. A legacy service left it, too long ago to be voided without a person's
 *   word. For a person.
 */
export type HoldReason = 'needed' | 'voiding' | 'void_failed' | 'captured_unneeded' | 'never_voided';

/** Those that a person has to see to. */
export const FOR_A_PERSON = ['void_failed', 'captured_unneeded', 'never_voided'] as const satisfies HoldReason[];
/** One of the reasons for which a person has to see to a hold: `void_failed`, `captured_unneeded` or `never_voided`. */
export type PersonsReason = (typeof FOR_A_PERSON)[number];

export const isForAPerson = (because: HoldReason): boolean => (FOR_A_PERSON as readonly HoldReason[]).includes(because);

/** SQL: the reason why a hold is on the list, of those that may be on it. */
export const BECAUSE = `
  CASE WHEN is_needed THEN 'needed' WHEN state = 'captured' THEN 'captured_unneeded' WHEN state = 'held' THEN 'never_voided'
       ELSE state END`;

/** The same of a hold that is listed. */
export function reasonOf({ isNeeded, state }: Pick<Hold, 'isNeeded' | 'state'>): HoldReason {
  if (isNeeded) return 'needed';
  if (state === 'captured') return 'captured_unneeded';
  return state === 'voiding' || state === 'void_failed' ? state : 'never_voided';
}

/** SQL: a hold may still stand, or was captured although nobody needed it. For the holds of one request: no index serves it. */
export const IS_LISTED = `
  (is_needed AND state = 'held' OR NOT is_needed AND closed_by IS NULL AND state IN (${literals(STANDING_STATES)}))
    AND (state = 'captured' OR coalesce(hold_expires_at, 'infinity') > statement_timestamp())`;

type Seen = Pick<Hold, 'voidFailures' | 'lastVoidError' | 'nextVoidAt'> & {
  readonly because: HoldReason;
  /** Null where there is no row of it. */
  readonly requestStatus: AuthRequestStatus | null;
};

/** The reason in words. */
export function inWords({ because, requestStatus, voidFailures, lastVoidError, nextVoidAt }: Seen): string {
  const request = requestStatus === null ? 'its request has no row' : `its request is ${requestStatus}`;
  const code = lastVoidError ?? 'no error code';
  switch (because) {
    case 'needed':
      return request;
    case 'voiding': {
      const next = nextVoidAt ? `, the next one is due at ${nextVoidAt.toISOString()}` : '';
      return voidFailures === 0
        ? `${request}: being voided`
        : `${request}: being voided; ${voidFailures} ${voidFailures === 1 ? 'void has' : 'voids have'} failed (${code})${next}`;
    }
    case 'void_failed':
      return `${request}: the void failed (${code})`;
    case 'captured_unneeded':
      return `${request}: captured although nobody needed it`;
    case 'never_voided':
      return `${request}: nothing says that it was voided, and it is too old to be voided without a person's word`;
  }
}
