import { text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';

interface KeyRow {
  idempotency_key: string;
  restaurant_id: string;
  auth_request_id: string;
  operation: string;
  outcome: string | null;
  request_fingerprint: Buffer | null;
  status: string | null;
  last_event_sequence: number | null;
}

/**
 * A statement of its own, after one that met the key and wrote nothing: only a new snapshot sees what the other
 * transaction has committed. The request's row may be lacking behind a legacy key.
 */
const READ_KEY = operation({
  name: 'read_idempotency_key',
  input: { idempotency_key: text, restaurant_id: uuid },
  output: rowsOf<KeyRow>(),
  sql: `
    SELECT key.idempotency_key, key.restaurant_id, key.auth_request_id, key.operation, key.outcome, key.request_fingerprint, state.status,
           state.last_event_sequence
    FROM auth_idempotency_keys AS key JOIN input USING (idempotency_key, restaurant_id)
    LEFT JOIN auth_request_state AS state
      ON state.auth_request_id = key.auth_request_id AND state.restaurant_id = key.restaurant_id
    WHERE key.expires_at > now()`,
  many: { orderBy: ['idempotency_key', 'restaurant_id'], returning: '' },
});

/** A key is a restaurant's. */
export interface KeyRef {
  readonly idempotencyKey: string;
  readonly restaurantId: string;
}

/** What an unexpired key has stood for. */
export interface UsedKey {
  readonly authRequestId: string;
  readonly outcome: string | null;
  /** Where its request stands now; null where it has no row. */
  readonly status: string | null;
  /** The number of its last event; 0 where it has no row. */
  readonly lastEventSequence: number;
  /** Whether it was for that operation and that request. A legacy key has no fingerprint to compare. */
  stoodFor(operation: string, requestFingerprint: Buffer): boolean;
}

export async function readKey(session: Session, ref: KeyRef): Promise<UsedKey | undefined> {
  const row = await session.row(READ_KEY, toInput(ref));
  return row && toUsedKey(row);
}

/** Reads several keys in one statement. Those that are free have no entry. */
export async function readKeys(session: Session, refs: readonly KeyRef[]): Promise<Map<string, UsedKey>> {
  const rows = await session.rowsOfMany(
    READ_KEY,
    refs.map((ref) => READ_KEY.valuesOf(toInput(ref))),
  );
  return new Map(
    rows.map((row) => [
      nameOf({ idempotencyKey: row.idempotency_key, restaurantId: row.restaurant_id }),
      toUsedKey(row),
    ]),
  );
}

/** One text for a key, which no other key has. */
export const nameOf = ({ idempotencyKey, restaurantId }: KeyRef): string => `${restaurantId} ${idempotencyKey}`;

const toInput = ({ idempotencyKey, restaurantId }: KeyRef) => ({
  idempotency_key: idempotencyKey,
  restaurant_id: restaurantId,
});

const toUsedKey = (row: KeyRow): UsedKey => ({
  authRequestId: row.auth_request_id,
  outcome: row.outcome,
  status: row.status,
  lastEventSequence: row.last_event_sequence ?? 0,
  stoodFor: (operation, requestFingerprint) =>
    row.operation === operation &&
    (row.request_fingerprint === null || row.request_fingerprint.equals(requestFingerprint)),
});
