import { v4 as uuidv4 } from 'uuid';
import { type PaymentEventsDataSource } from '../../src/data-source';
import {
  AuthRequestNotFoundError,
  ConcurrencyConflictError,
  EventIdConflictError,
  InvalidCommandError,
  UndecodableEventError,
  UnencodableMessageError,
  UnknownEventTypeError,
} from '../../src/errors';
import { EventStore, type NewEvent, type StoredEvent } from '../../src/event-store/event-store';
import { RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, outcomeOf, overlap } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let store: EventStore;

beforeAll(async () => {
  dataSource = await database.dataSource();
  store = new EventStore(dataSource);
});

const aStream = () => ({ authRequestId: uuidv4(), restaurantId: RESTAURANT });
const anEvent = (reason: string, eventId?: string): NewEvent => ({
  type: 'AuthVoidRequested',
  data: { authRequestId: uuidv4(), reason, requestedAt: new Date(1_700_000_000_000) },
  ...(eventId && { eventId }),
});
const events = (count: number) => Array.from({ length: count }, (_, index) => anEvent(`${index + 1}`, uuidv4()));
const numbers = (stored: readonly { sequenceNumber: number }[]) => stored.map(({ sequenceNumber }) => sequenceNumber);
const reasons = (stored: readonly NewEvent[]) => stored.map(({ data }) => (data as { reason: string }).reason);
const caught = (error: unknown) => error;
async function walk(events: AsyncIterable<StoredEvent>): Promise<number[]> {
  const walked: number[] = [];
  for await (const { sequenceNumber } of events) walked.push(sequenceNumber);
  return walked;
}

describe('append', () => {
  it('numbers many events in their order, in one go, and they read back as they were', async () => {
    const stream = aStream();
    const appended = await store.append(stream, 0, events(3), {
      metadata: { correlationId: 'c1', causationId: 'm1', shift: { number: 2 } },
    });
    expect(numbers(appended)).toEqual([1, 2, 3]);
    expect(await store.append(stream, 3, [anEvent('4')])).toMatchObject([{ sequenceNumber: 4 }]);
    const stored = await store.readStream(stream);
    expect(reasons(stored)).toEqual(['1', '2', '3', '4']);
    expect(stored[0]).toMatchObject({
      ...stream,
      ...appended[0],
      type: 'AuthVoidRequested',
      data: { requestedAt: new Date(1_700_000_000_000) },
      metadata: { correlationId: 'c1', causationId: 'm1', shift: { number: 2 } },
      createdAt: expect.any(Date) as Date,
    });
    expect(stored[3]?.metadata).toEqual({});
    expect(
      await database.query('SELECT metadata FROM payment_events WHERE event_id = $1', [stored[0]?.eventId]),
    ).toEqual([{ metadata: { correlation_id: 'c1', causation_id: 'm1', shift: { number: 2 } } }]);
  });

  it('answers the same call with where its events stand, also when the stream has gone on', async () => {
    const stream = aStream();
    const batch = events(2);
    const appended = await store.append(stream, 0, batch);
    await store.append(stream, 2, [anEvent('3')]);
    expect(await store.append(stream, 0, batch)).toEqual(appended);
    const shouted = batch.map((event) => ({ ...event, eventId: event.eventId?.toUpperCase() }));
    expect(await store.append(stream, 0, shouted)).toEqual(appended);
    expect(await store.readStream(stream)).toHaveLength(3);
  });

  it('refuses an id that belongs to another event, of this stream or another', async () => {
    const [stream, other] = [aStream(), aStream()];
    const [event] = events(1) as [NewEvent & { eventId: string }];
    await store.append(stream, 0, [event]);
    for (const [to, expected, changed] of [
      [stream, 0, anEvent('other content', event.eventId)],
      [stream, 1, anEvent('other content', event.eventId)],
      [other, 0, event],
    ] as const) {
      const error = await store.append(to, expected, [anEvent('new'), changed]).catch(caught);
      expect(error).toBeInstanceOf(EventIdConflictError);
      expect(error).toMatchObject({ eventId: event.eventId, retryable: false });
    }
    expect(await store.readStream(other)).toEqual([]);
    expect(await store.readStream(stream)).toHaveLength(1);
  });

  it('tells where the stream ends when that is not where it was expected to, and writes nothing', async () => {
    const stream = aStream();
    const [known, ...more] = events(3) as [NewEvent, ...NewEvent[]];
    await store.append(stream, 0, [known, anEvent('2')]);
    for (const [expected, batch] of [
      [0, more],
      [1, more],
      [3, more],
      [2, [known, ...more]], // one of them stands already: neither the same call nor a new one
    ] as const) {
      const error = await store.append(stream, expected, batch).catch(caught);
      expect(error).toBeInstanceOf(ConcurrencyConflictError);
      expect(error).toMatchObject({ aggregateId: stream.authRequestId, expected, actual: 2 });
    }
    expect(await store.readStream(stream)).toHaveLength(2);
  });

  it('joins the transaction of the caller, which lives on after a refusal', async () => {
    const stream = aStream();
    await store.append(stream, 0, [anEvent('1')]);
    await dataSource.transaction(async (manager) => {
      const conflict = store.append(stream, 0, [anEvent('x')], {}, manager);
      await expect(conflict).rejects.toMatchObject({ code: 'CONCURRENCY_CONFLICT', expected: 0, actual: 1 });
      const repeated = [anEvent('2', uuidv4())];
      const appended = await store.append(stream, 1, repeated, {}, manager);
      expect(await store.append(stream, 1, repeated, {}, manager)).toEqual(appended);
      await expect(store.append(aStream(), 0, repeated, {}, manager)).rejects.toThrow(EventIdConflictError);
      expect(await store.readStream(stream)).toHaveLength(1);
      expect(await store.readStream(stream, {}, manager)).toHaveLength(2);
    });
    const undone = dataSource.transaction(async (manager) => {
      await store.append(stream, 2, [anEvent('3')], {}, manager);
      throw new Error('undo');
    });
    await expect(undone).rejects.toThrow('undo');
    expect(reasons(await store.readStream(stream))).toEqual(['1', '2']);
  });

  it('lets one of two transactions through that append at the same place', async () => {
    const stream = aStream();
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => store.append(stream, 0, events(2), {}, manager),
      () => dataSource.transaction((manager) => store.append(stream, 0, events(2), {}, manager)).catch(caught),
    );
    expect(waited).toBe(true);
    expect(second).toMatchObject({ code: 'CONCURRENCY_CONFLICT', expected: 0, actual: undefined });
    expect(await store.readStream(stream)).toHaveLength(2);
  });

  it('takes the place of one that was rolled back', async () => {
    const stream = aStream();
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => store.append(stream, 0, events(2), {}, manager),
      () => store.append(stream, 0, [anEvent('only')]),
      { ending: 'rollback' },
    );
    expect(waited).toBe(true);
    expect(numbers(second)).toEqual([1]);
    expect(reasons(await store.readStream(stream))).toEqual(['only']);
  });

  it('lets exactly one of many at once win, with all of its events', async () => {
    for (let round = 0; round < 100; round++) {
      const stream = aStream();
      await store.append(stream, 0, [anEvent('first')]);
      const outcomes = await atOnce(4, (index) =>
        outcomeOf(store.append(stream, 1, [anEvent(`${index}`), anEvent(`${index}`), anEvent(`${index}`)])),
      );
      expect(outcomes.filter((outcome) => outcome === 'ConcurrencyConflictError')).toHaveLength(3);
      const winner = outcomes.findIndex((outcome) => typeof outcome !== 'string');
      const stored = await store.readStream(stream);
      expect(numbers(stored)).toEqual([1, 2, 3, 4]);
      expect(reasons(stored)).toEqual(['first', `${winner}`, `${winner}`, `${winner}`]);
    }
  });

  it('answers all of many at once that are the same call alike', async () => {
    for (let round = 0; round < 50; round++) {
      const stream = aStream();
      const batch = events(3);
      const answers = await atOnce(4, () => store.append(stream, 0, batch));
      for (const answer of answers) expect(answer).toEqual(answers[0]);
      expect(await store.readStream(stream)).toHaveLength(3);
    }
  });

  it.each([
    ['no events', 0, [], InvalidCommandError],
    ['an expected number below zero', -1, [anEvent('x')], InvalidCommandError],
    ['an id twice', 0, [anEvent('x', RESTAURANT), anEvent('y', RESTAURANT)], InvalidCommandError],
    ['an id that is no UUID', 0, [anEvent('x', 'event-1')], InvalidCommandError],
    ['half a character', 0, [anEvent('\ud800')], UnencodableMessageError],
  ])('refuses %s before anything is sent', async (_what, expected, batch, refusal) => {
    await expect(store.append(aStream(), expected, batch)).rejects.toThrow(refusal);
  });
});

describe('reading', () => {
  it('gives a part of a stream, of its own restaurant only', async () => {
    const stream = aStream();
    await store.append(stream, 0, events(10));
    expect(numbers(await store.readStream(stream, { from: 4, limit: 3 }))).toEqual([4, 5, 6]);
    expect(numbers(await store.readStream(stream, { from: 9 }))).toEqual([9, 10]);
    expect(await store.readStream(stream, { from: 11 })).toEqual([]);
    expect(await store.readStream({ ...stream, restaurantId: uuidv4() })).toEqual([]);
  });

  it.each([1, 3, 5, 10, 11])('walks a stream %i events at a time and gives each once', async (batchSize) => {
    const stream = aStream();
    await store.append(stream, 0, events(10));
    expect(await walk(store.iterate(stream, { batchSize }))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await walk(store.iterate(stream, { batchSize, from: 8 }))).toEqual([8, 9, 10]);
  });

  it('walks batch by batch: what is appended on the way is seen', async () => {
    const stream = aStream();
    await store.append(stream, 0, events(4));
    const walked: number[] = [];
    for await (const { sequenceNumber } of store.iterate(stream, { batchSize: 2 })) {
      walked.push(sequenceNumber);
      if (sequenceNumber === 4) await store.append(stream, 4, events(1));
    }
    expect(walked).toEqual([1, 2, 3, 4, 5]);
  });

  it('reads the metadata of legacy writers: JSON in a JSON string, or nothing', async () => {
    const stream = aStream();
    const [appended] = await store.append(stream, 0, [anEvent('1')]);
    for (const [index, metadata] of [
      JSON.stringify(JSON.stringify({ worker_id: 'w1', correlation_id: 'c1' })),
      'null',
      JSON.stringify('not JSON'),
      '[1]',
    ].entries()) {
      await database.query(
        `INSERT INTO payment_events
           (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id, metadata)
         SELECT aggregate_id, aggregate_type, event_type, event_data, $2, restaurant_id, $3::jsonb
         FROM payment_events WHERE event_id = $1`,
        [appended?.eventId, index + 2, metadata],
      );
    }
    const [, double, ...nothing] = await store.readStream(stream);
    expect(double?.metadata).toEqual({ worker_id: 'w1', correlationId: 'c1' });
    expect(nothing.map(({ metadata }) => metadata)).toEqual([{}, {}, {}]);
  });

  it.each([
    ['a type it does not know', 'AuthDreamt', '', UnknownEventTypeError],
    ['bytes that are no such message', 'AuthVoidRequested', 'ff', UndecodableEventError],
  ])('names the event that has %s', async (_what, eventType, hex, refusal) => {
    const stream = aStream();
    const eventId = uuidv4();
    await database.query(
      `INSERT INTO payment_events
         (event_id, aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
       VALUES ($1, $2, 'auth_request', $3, decode($4, 'hex'), 1, $5)`,
      [eventId, stream.authRequestId, eventType, hex, RESTAURANT],
    );
    const error = await store.readStream(stream).catch(caught);
    expect(error).toBeInstanceOf(refusal);
    expect(error).toMatchObject({ eventId, eventType });
  });
});

describe('the stream of one restaurant', () => {
  it('takes no event of another: not the next, nor one that is repeated', async () => {
    const dataSource = await database.dataSource();
    const store = new EventStore(dataSource);
    const stream = { authRequestId: uuidv4(), restaurantId: uuidv4() };
    const event = {
      type: 'AuthVoidRequested',
      data: { authRequestId: '', reason: '', requestedAt: undefined },
    } as const;
    await store.append(stream, 0, [event]);
    const foreign = { ...stream, restaurantId: uuidv4() };
    await expect(store.append(foreign, 1, [event])).rejects.toThrow(AuthRequestNotFoundError);
    await expect(store.append(foreign, 0, [event])).rejects.toThrow(AuthRequestNotFoundError);
    expect(await store.append(stream, 1, [event])).toMatchObject([{ sequenceNumber: 2 }]);
  });
});
