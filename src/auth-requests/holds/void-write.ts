import { type InputOf, text } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { untilDecided } from '../../database/repeat';
import { type Session } from '../../database/session';
import { HoldNotFoundError, LockLostError } from '../../errors';
import { type EventMetadata, fromColumn } from '../../event-store/event-metadata';
import { HELD_LEASE, leaseColumns } from '../../locks/held-lease';
import { type LeaseRef } from '../../locks/lease';
import { releaseLease } from '../../locks/lease-writes';
import { Text } from '../../validation/rules';
import { TracedCommand } from '../traced-command';
import { eventIdOf, type LeaseAfter, REQUEST, workerColumns, workerInput, type WorkerWrite } from '../worker-write';
import { type HoldState } from './states';
import { IS_OUTDATED, isMeant, mayUse } from './write-holds';

/** What a worker says of a void that it has asked the processor for. */
export abstract class VoidWriteCommand extends TracedCommand {
  /** Of what `toVoid` answered. */
  @Text(0, 50)
  processorName: string;

  /** Empty where a legacy service has not said it. */
  @Text(0, 255)
  processorAuthId: string;
}

/** The columns of `input` that a worker's write about a void begins with. */
export const voidColumns = {
  ...workerColumns,
  hold_name: text,
  hold_id: text,
  /** What makes the write the same as another of the same lease about the same hold. */
  write_key: text,
} as const;

/** Their values. */
export const voidInput = (
  lease: LeaseRef,
  command: VoidWriteCommand,
  writeKey: string,
  metadata: Record<string, unknown> = {},
) => ({
  ...workerInput(lease, command, metadata),
  hold_name: command.processorName,
  hold_id: command.processorAuthId,
  write_key: writeKey,
});

/**
 * SQL: whether the hold is held although its request does not use it: a client of an earlier version, which knows no holds, has
 * closed the request and queued the void. What is said of that void counts as of any other.
 */
export const isStray = (request: string): string =>
  `(hold.state = 'held' AND NOT ${mayUse(request, 'hold.processor_auth_id')})`;

const EVENT_ID = eventIdOf('fencing_token', 'hold_name', 'hold_id', 'write_key');

/**
 * The parts that a worker's write about a void begins with: lease, request, and in `before` the hold as the snapshot has it, which
 * is right where that is not outdated.
 */
export const beforeVoid = (lease: string): string => `
    lease AS (${lease}
    ), request AS (${REQUEST}
    ), seen AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated FROM request
    ), before AS (
      SELECT seen.*, CASE WHEN is_stray THEN 'voiding' ELSE state_before END AS state_before, is_stray, failures_before,
             waiting_at, void_cents, ${EVENT_ID} AS new_event_id
      FROM seen
      JOIN LATERAL (
        SELECT state AS state_before, ${isStray('seen')} AS is_stray, void_failures AS failures_before, next_void_at AS waiting_at,
               hold.amount_cents AS void_cents
        FROM auth_holds AS hold WHERE ${isMeant('seen')}
      ) AS hold ON true
      WHERE NOT is_outdated
    )`;

/** The part `changed`, where this lease has not written the same before: the request has one more event. */
export const countEvent = (before: string, returning: string) => `
      UPDATE auth_request_state AS state
      SET last_event_sequence = before.last_event_sequence + 1, last_event_id = new_event_id
      FROM ${before} AS before
      WHERE state.auth_request_id = before.auth_request_id
        AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
      RETURNING state.auth_request_id, state.restaurant_id, state.last_event_sequence, state.last_event_id, ${returning}`;

const explainColumns = { ...leaseColumns, hold_name: text, hold_id: text, write_key: text } as const;

const EXPLAIN_VOID = operation({
  name: 'explain_void',
  input: explainColumns,
  output: rowsOf<{ held: boolean; state: HoldState | null; metadata: unknown }>(),
  sql: `
    SELECT EXISTS (${HELD_LEASE}) AS held,
      (SELECT state FROM auth_holds AS hold WHERE ${isMeant('input')}) AS state,
      (SELECT metadata FROM payment_events WHERE event_id = ${EVENT_ID}) AS metadata
    FROM input`,
});

interface VoidWrite<Input, Row, Result> {
  readonly write: WorkerWrite<Input, Row>;
  readonly input: NoInfer<Input>;
  readonly written: (row: Row) => Result;
  /**
   * What it came to before, where the same was written then (its event's metadata), or the hold's state leaves nothing to
   * write.
   */
  readonly repeated: (before: EventMetadata | undefined, state: HoldState) => Result | undefined;
}

/**
 * Runs a worker's write about a void. Where it changed nothing, a second statement looks why, as committed by now: what
 * was written before counts before the lease does. Neither written nor explained, the hold was reported in between.
 *
 * @throws LockLostError, HoldNotFoundError
 */
export async function writeVoid<Input extends InputOf<typeof explainColumns>, Row extends object, Result>(
  session: Session,
  lease: LeaseRef,
  { write, input, written, repeated }: VoidWrite<Input, Row, Result>,
  after: LeaseAfter,
): Promise<Result> {
  return await untilDecided(async () => {
    const row = await session.newest(write[after], input);
    if (row) return written(row);
    const { held, state, metadata } = (await session.row(EXPLAIN_VOID, input))!;
    const before = metadata === null ? undefined : fromColumn(metadata);
    if (!before && !held) throw new LockLostError(lease.authRequestId);
    if (state === null) throw new HoldNotFoundError(input.hold_name, input.hold_id);
    const result = repeated(before, state);
    if (result && after === 'released') await releaseLease(session, lease);
    return result;
  });
}
