import { type DataSource, type EntityManager } from 'typeorm';
import { screenReport } from '../card-numbers/screen';
import { arrayOf, bytea, integer, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { sessionOf } from '../database/session';
import {
  AuthRequestNotFoundError,
  ConcurrencyConflictError,
  ConstraintViolationError,
  EventIdConflictError,
} from '../errors';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { AppendCommand, AppendOptions, IterateOptions, ReadStreamOptions, StreamRef } from './append-command';
import { eventMetadata, INSERT_EVENTS } from './append-event';
import { decodeEvent, type PaymentEventBody } from './event-codec';
import { encodeScreened } from './encode-screened';
import { type EventMetadata, fromColumn } from './event-metadata';

/** An event to append. */
export type NewEvent = PaymentEventBody & {
  /** Makes a repeated append the same append. Default: a new UUIDv7. */
  readonly eventId?: string;
};

/** Where an event stands. */
export interface AppendedEvent {
  readonly eventId: string;
  readonly sequenceNumber: number;
  /** Position in the store. */
  readonly position: bigint;
}

/** An event as it was stored. */
export type StoredEvent = PaymentEventBody &
  AppendedEvent & {
    readonly authRequestId: string;
    readonly restaurantId: string;
    readonly metadata: EventMetadata;
    /** By the database's clock. */
    readonly createdAt: Date;
  };

/**
 * Writes only where the stream ends as expected and none of the ids is taken. Of two at once that both see the stream
 * end there, the unique keys let one through: the other waits for its commit and gets a violation, which undoes all of
 * its events.
 */
const APPEND = operation({
  name: 'append_events',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    expected_sequence: integer,
    event_ids: arrayOf(uuid),
    event_types: arrayOf(text),
    events: arrayOf(bytea),
    event_metadata: eventMetadata,
  },
  output: rowsOf<AppendedRow>(),
  // Each subquery reads input by itself: of the outer one's it would be a join for each event.
  sql: `${INSERT_EVENTS}
  SELECT auth_request_id, 'auth_request', restaurant_id, type, id, expected_sequence + position, data, event_metadata
  FROM input, unnest(event_ids, event_types, events) WITH ORDINALITY AS event (id, type, data, position)
  WHERE expected_sequence = (SELECT coalesce(max(sequence_number), 0) FROM payment_events, input
                             WHERE aggregate_id = auth_request_id)
    AND NOT EXISTS (SELECT FROM payment_events, input WHERE event_id = ANY (event_ids))
    AND NOT EXISTS (SELECT FROM payment_events, input
                    WHERE aggregate_id = auth_request_id AND payment_events.restaurant_id <> input.restaurant_id)
  ORDER BY position
  RETURNING event_id, sequence_number, id`,
});

/** Where the ids stand already, where the stream ends, and whether it is another restaurant's. */
const READ_STANDING = operation({
  name: 'read_appended_events',
  input: { auth_request_id: uuid, restaurant_id: uuid, event_ids: arrayOf(uuid) },
  output: rowsOf<StandingRow>(),
  sql: `
  SELECT (SELECT coalesce(max(sequence_number), 0) FROM payment_events, input
          WHERE aggregate_id = auth_request_id) AS stream_end,
         EXISTS (SELECT FROM payment_events, input
                 WHERE aggregate_id = auth_request_id AND payment_events.restaurant_id <> input.restaurant_id
         ) AS is_foreign,
         event_id, sequence_number, id, aggregate_id, event_type, event_data
  FROM input LEFT JOIN payment_events ON event_id = ANY (event_ids)
  ORDER BY sequence_number`,
});

const READ_STREAM = operation({
  name: 'read_stream',
  input: { auth_request_id: uuid, restaurant_id: uuid, first_sequence: integer, page_size: integer },
  output: rowsOf<StoredRow>(),
  sql: `
  SELECT id, event_id, aggregate_id, restaurant_id, event_type, event_data, metadata, created_at, sequence_number
  FROM payment_events JOIN input USING (restaurant_id)
  WHERE aggregate_id = auth_request_id AND sequence_number >= first_sequence
  ORDER BY sequence_number LIMIT (SELECT page_size FROM input)`,
});

/**
 * The events themselves, stream by stream. A stream is one authorization request.
 *
 * `AuthRequests` appends what its operations do, together with the read model; appending here writes the event alone and
 * leaves the read model to the caller's own transaction.
 */
export class EventStore {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Appends events to a stream, all or none, in one statement.
   *
   * The same call again, with the same event ids, is answered with where the events stand.
   *
   * @param expectedSequence where the stream is thought to end; 0 for a new one
   * @param events 1 to 1,000
   * @returns where each event stands, in their order
   * @throws ConcurrencyConflictError the stream ends elsewhere
   * @throws AuthRequestNotFoundError the stream is another restaurant's
   * @throws EventIdConflictError an id belongs to another event
   * @throws UnencodableMessageError, InvalidCommandError before anything is sent
   *
   * @example
   * const events = await store.readStream(stream);
   * await store.append(stream, events.length, [
   *   { type: 'AuthVoidRequested', data: { authRequestId, reason: 'duplicate', requestedAt: new Date() } },
   * ], { metadata: { correlationId } });
   */
  async append(
    stream: StreamRef,
    expectedSequence: number,
    events: readonly NewEvent[],
    options?: AppendOptions,
    manager?: EntityManager,
  ): Promise<AppendedEvent[]> {
    const command = validateCommand(
      { AppendCommand },
      {
        ...validateCommand({ StreamRef }, stream),
        expectedSequence,
        events,
      },
    );
    const given = validateOptions({ AppendOptions }, options);
    const ids = command.events.map(({ eventId }) => eventId?.toLowerCase() ?? newId());
    const authRequestId = command.authRequestId.toLowerCase();
    const restaurantId = command.restaurantId.toLowerCase();
    const data = encodeScreened(this.#dataSource, events);
    const { metadata = {} } = screenReport(this.#dataSource, 'append', given);
    const types = events.map(({ type }) => type);
    const session = sessionOf(this.#dataSource, manager);
    const ref = { auth_request_id: authRequestId, restaurant_id: restaurantId, event_ids: ids };
    let appended: AppendedRow[] = [];
    try {
      appended = await session.rows(APPEND, {
        ...ref,
        expected_sequence: expectedSequence,
        event_types: types,
        events: data,
        event_metadata: metadata,
      });
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      // The caller's transaction has been aborted by it: nothing more can be read there.
      if (session.isCallers) throw new ConcurrencyConflictError(authRequestId, expectedSequence, undefined);
    }
    if (appended.length === ids.length) return appended.map(toAppended);

    const standing = await session.rows(READ_STANDING, ref);
    if (standing[0]?.is_foreign) throw new AuthRequestNotFoundError(authRequestId);
    const byId = new Map(standing.map((row) => [row.event_id, row]));
    const found = ids.map((id) => byId.get(id));
    for (const [index, row] of found.entries()) {
      const same =
        row?.aggregate_id === authRequestId && row.event_type === types[index] && row.event_data.equals(data[index]!);
      if (row && !same) throw new EventIdConflictError(row.event_id);
    }
    if (found.every((row) => row !== undefined)) return found.map(toAppended);
    throw new ConcurrencyConflictError(authRequestId, expectedSequence, standing[0]?.stream_end);
  }

  /**
   * The events of a stream in order, or a part of them.
   *
   * @throws UnknownEventTypeError, UndecodableEventError naming the event
   * @throws InvalidCommandError
   */
  async readStream(stream: StreamRef, options?: ReadStreamOptions, manager?: EntityManager): Promise<StoredEvent[]> {
    const { authRequestId, restaurantId } = validateCommand({ StreamRef }, stream);
    const { from = 1, limit = 1_000 } = validateOptions({ ReadStreamOptions }, options);
    const rows = await sessionOf(this.#dataSource, manager).rows(READ_STREAM, {
      auth_request_id: authRequestId,
      restaurant_id: restaurantId,
      first_sequence: from,
      page_size: limit,
    });
    return rows.map(toStored);
  }

  /**
   * The events of a stream in order, `batchSize` in memory at a time.
   *
   * @throws while iterating, what `readStream` throws
   *
   * @example
   * for await (const event of store.iterate(stream)) console.log(event.sequenceNumber, event.type);
   */
  async *iterate(
    stream: StreamRef,
    options?: IterateOptions,
    manager?: EntityManager,
  ): AsyncGenerator<StoredEvent, void, undefined> {
    const { from = 1, batchSize = 500 } = validateOptions({ IterateOptions }, options);
    for (let next = from; ;) {
      const batch = await this.readStream(stream, { from: next, limit: batchSize }, manager);
      yield* batch;
      if (batch.length < batchSize) return;
      next = batch.at(-1)!.sequenceNumber + 1;
    }
  }
}

interface AppendedRow {
  event_id: string;
  sequence_number: number;
  id: string;
}

interface StandingRow extends AppendedRow {
  stream_end: number;
  is_foreign: boolean;
  aggregate_id: string;
  event_type: string;
  event_data: Buffer;
}

interface StoredRow extends AppendedRow {
  aggregate_id: string;
  restaurant_id: string;
  event_type: string;
  event_data: Buffer;
  metadata: unknown;
  created_at: Date;
}

const isDuplicate = (error: unknown) =>
  error instanceof ConstraintViolationError &&
  ['unique_aggregate_sequence', 'payment_events_event_id_key'].includes(error.constraint);

const toAppended = (row: AppendedRow): AppendedEvent => ({
  eventId: row.event_id,
  sequenceNumber: row.sequence_number,
  position: BigInt(row.id),
});

const toStored = (row: StoredRow): StoredEvent => ({
  ...toAppended(row),
  ...decodeEvent(row.event_type, row.event_data, { eventId: row.event_id }),
  authRequestId: row.aggregate_id,
  restaurantId: row.restaurant_id,
  metadata: fromColumn(row.metadata),
  createdAt: row.created_at,
});
