import { CHANGED } from '../../event-store/append-event';
import { type MessageColumn, type messageHeaders, queueMessage } from '../../outbox/queue-message';
import { int64Field, textField } from '../../protobuf/append-fields';
import { SQL } from '../statuses';

/**
 * SQL, for a part of a statement that has locked the row of a request: whether the row has changed since the statement
 * began, so that its snapshot may lack holds. Every event that says something of a hold raises last_event_sequence of the
 * request's row, under its lock and in the same transaction: where the row, as it is locked, has the number that it has in
 * the snapshot, the snapshot has every hold of the request as it is. See `Session.newest`.
 */
export const IS_OUTDATED = `(
  last_event_sequence IS DISTINCT FROM (
    SELECT last_event_sequence FROM auth_request_state JOIN input USING (auth_request_id, restaurant_id)))`;

/** SQL: the `hold` that a part with `hold_name` and `hold_id` is about. */
export const isMeant = (part: string): string =>
  `(hold.auth_request_id, hold.processor_name, hold.processor_auth_id) = (${part}.auth_request_id, hold_name, hold_id)`;

/**
 * SQL: whether a request may use a hold: it has no answer yet, or is AUTHORIZED by that one, which is told by the id alone, since a
 * name may be spelled in several ways.
 */
export const mayUse = (request: string, holdId: string): string =>
  `(${request}.status IN (${SQL.open}) OR ${request}.status = 'AUTHORIZED' AND ${request}.processor_auth_id = ${holdId})`;

/**
 * A part `unneeded`: with the event of `changed` the request has an answer, so that it needs none of its other holds. What
 * is held is to be voided. What has ended already stays as it is, and what was captured is for a person to see to.
 *
 * @param where SQL: whether the event decides that; default: always
 */
export const unneededHolds = (where = 'true'): string => `
  UPDATE auth_holds AS hold
  SET is_needed = false, state = CASE hold.state WHEN 'held' THEN 'voiding' ELSE hold.state END,
      last_event_sequence = changed.last_event_sequence
  FROM changed
  WHERE hold.auth_request_id = changed.auth_request_id AND hold.is_needed AND (${where})
  RETURNING hold.*`;

/** Of the holds that {@link unneededHolds} found, those that were held. */
export const TO_BE_VOIDED = `unneeded WHERE state = 'voiding'`;

/** SQL, for the metadata of the event: which holds {@link unneededHolds} found. */
export const unneededIn = (from = 'unneeded'): string =>
  `'unneeded', (SELECT jsonb_agg(jsonb_build_array(processor_name, processor_auth_id)) FROM ${from})`;

interface VoidInput {
  readonly void_message: MessageColumn<'void_request_queued'>;
  readonly headers: typeof messageHeaders;
}

/** SQL: the fields of `void_request_queued` that name a hold, of these columns. */
export const holdFields = (column: Record<'name' | 'id' | 'cents' | 'currency', string>): string =>
  [
    ...[textField(5, column.name), textField(6, column.id), int64Field(7, column.cents)],
    textField(8, column.currency),
  ].join(' || ');

interface Voids {
  /** Rows of auth_holds, all of which are to be voided. */
  readonly holds: string;
  /** SQL: why, where the input's message does not say so. */
  readonly reason?: string;
  /** The requests, with the input. Default: {@link CHANGED}. */
  readonly requests?: string;
  /** SQL: fields that are appended to the message. */
  readonly fields?: string;
  /** SQL: not before then. Default: at once. */
  readonly dueAt?: string;
}

/** A part that queues the input's `void_message` for each of some holds. */
export const queueVoids = (
  { void_message: message, headers }: VoidInput,
  { holds, reason, requests = CHANGED, fields, dueAt }: Voids,
): string =>
  queueMessage(
    { message, headers },
    {
      ...{ column: 'void_message', dueAt },
      from: `${requests}
    JOIN (SELECT auth_request_id, processor_name AS void_name, processor_auth_id AS void_id, amount_cents AS void_cents,
                 currency AS void_currency
          FROM ${holds}) AS hold USING (auth_request_id)`,
      fields: [
        ...[fields, reason && textField(3, reason)].filter((field) => field !== undefined),
        holdFields({ name: 'void_name', id: 'void_id', cents: 'void_cents', currency: 'void_currency' }),
      ].join(' || '),
    },
  );

/** A message about a hold: the statement says which one. */
export const voidMessage = (authRequestId: string, restaurantId: string, reason: string) => ({
  ...{ authRequestId, restaurantId, reason, createdAt: new Date() },
  ...{ processorName: '', processorAuthId: '', amountCents: 0, currency: '' },
});

/** As the event keeps a time, so that the row says the same. */
export const wholeSeconds = (time: Date): Date => new Date(Math.floor(time.getTime() / 1000) * 1000);
