import { type PaymentEventsDataSource } from '../../src/data-source';
import { AuthRequestNotFoundError, ConfigurationError } from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { type SweepResult } from '../../src/sweeper/sweep-result';
import { SWEEPER_LEASE_ID, Sweeper } from '../../src/sweeper/sweeper';
import { type SweeperOptions } from '../../src/sweeper/sweeper-options';
import { inspectRequest } from '../../src/inspection/inspect-request';
import { anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { until } from '../support/relay/relayed';
import { useTestDatabase } from '../support/database/use-test-database';
import {
  aLostHold,
  aLostRequest,
  anUnsettledRequest,
  deliverAll,
  forgetAll,
  HOUR,
  letPass,
  MINUTE,
  queued,
  queuedIds,
} from '../support/sweeper/sweeping';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
beforeAll(async () => {
  dataSource = await database.dataSource();
});
beforeEach(() => forgetAll(database));

const OFF = {
  ...{ voidingIntervalMs: 0, stuckIntervalMs: 0, unsettledIntervalMs: 0, listingIntervalMs: 0, expiryIntervalMs: 0 },
  ...{ keysIntervalMs: 0, leasesIntervalMs: 0, messagesIntervalMs: 0 },
};
const sweepers: Sweeper[] = [];
afterEach(() => Promise.all(sweepers.splice(0).map((sweeper) => sweeper.stop())));
/** A sweeper that ends with its test. */
function aSweeper(options: SweeperOptions = {}): Sweeper {
  const sweeper = new Sweeper(dataSource, options);
  sweepers.push(sweeper);
  return sweeper;
}
/** One that sends, and does nothing else. */
const sending = (options: SweeperOptions = {}) =>
  aSweeper({ ...OFF, voidingIntervalMs: 1, stuckIntervalMs: 1, unsettledIntervalMs: 1, ...options });
const sentBy = ({ voiding, stuck, unsettled }: SweepResult) => ({
  voiding: voiding?.sent.length,
  stuck: stuck?.sent.length,
  unsettled: unsettled?.sent.length,
});
const swept = async (options?: SweeperOptions) => sentBy(await sending(options).runOnce());
const NOTHING = { voiding: 0, stuck: 0, unsettled: 0 };
const ref = (authRequestId: string) => ({ restaurantId: RESTAURANT, authRequestId });

describe('what gets its message again', () => {
  test('a request that nobody has taken up', async () => {
    const authRequestId = await aLostRequest(dataSource);
    await letPass(database, 9 * MINUTE);
    expect(await swept()).toEqual(NOTHING);
    await letPass(database, MINUTE);
    const result = await sending().runOnce();
    expect(result).toEqual({
      ...{ outcome: 'swept', dryRun: false, outboxAgeMs: null },
      voiding: { sent: [], heldBack: null, givenUp: [] },
      stuck: { sent: [{ ...ref(authRequestId), sweeps: 1 }], heldBack: null },
      unsettled: { sent: [], heldBack: null },
    });
    expect(await queued(database)).toEqual([
      { type: 'auth_request_queued', data: { ...ref(authRequestId), createdAt: expect.any(Date) as Date } },
    ]);
    expect(await new AuthRequests(dataSource).get(ref(authRequestId))).toMatchObject({ sweeps: 1, status: 'PENDING' });
  });

  test('a request whose attempt nobody has answered, while the processor can be asked', async () => {
    const authRequestId = await anUnsettledRequest(dataSource);
    await letPass(database, 11 * MINUTE);
    expect(await swept()).toEqual({ ...NOTHING, unsettled: 1 });
    expect(await queued(database)).toMatchObject([{ type: 'auth_request_queued', data: { authRequestId } }]);
    await deliverAll(database);
    await letPass(database, 24 * HOUR);
    expect(await swept()).toEqual(NOTHING);
  });

  test('a void that nobody has carried out, with everything that it names', async () => {
    const { authRequestId, processorName, processorAuthId } = await aLostHold(dataSource);
    await letPass(database, 9 * MINUTE);
    expect(await swept()).toEqual(NOTHING);
    await letPass(database, MINUTE);
    const { voiding } = await sending().runOnce();
    const hold = { ...ref(authRequestId), processorName, processorAuthId };
    expect(voiding).toEqual({ sent: [{ ...hold, sweeps: 1 }], heldBack: null, givenUp: [] });
    expect(await queued(database)).toEqual([
      {
        type: 'void_request_queued',
        data: {
          ...{ ...hold, amountCents: 1050, currency: 'USD', reason: 'not_voided_yet' },
          createdAt: expect.any(Date) as Date,
        },
      },
    ]);
  });

  test('a stuck request with an attempt under way: once, not for each reason', async () => {
    const { locks, lease } = await aRequest(dataSource, { started: true });
    await locks.release(lease);
    await deliverAll(database);
    await letPass(database, 11 * MINUTE);
    expect(await swept()).toEqual({ ...NOTHING, stuck: 1 });
  });

  test('not a hold that is needed, or has ended, nor a request that is settled', async () => {
    const needing = await aLostHold(dataSource, { state: 'held' });
    const { authRequestId } = await aLostHold(dataSource);
    await database.query(`UPDATE auth_request_state SET last_event_sequence = 4 WHERE auth_request_id = $1`, [
      authRequestId,
    ]);
    await database.query(
      `INSERT INTO payment_events
         (aggregate_id, aggregate_type, restaurant_id, event_type, event_id, sequence_number, event_data, metadata)
       VALUES ($1, 'auth_request', $2, 'AuthHoldEnded', gen_random_uuid(), 4, '', '{}')`,
      [authRequestId, RESTAURANT],
    );
    await database.query(`UPDATE auth_holds SET state = 'voided', last_event_sequence = 4 WHERE state = 'voiding'`);
    await letPass(database, 11 * MINUTE);
    const { stuck, ...result } = await sending().runOnce();
    expect(stuck!.sent.map((sent) => sent.authRequestId)).toEqual([needing.authRequestId]);
    expect(sentBy(result)).toEqual({ voiding: 0, stuck: undefined, unsettled: 0 });
  });

  test('not a request that was made longer ago than withinMs: people see to it', async () => {
    await aLostRequest(dataSource);
    await letPass(database, 49 * HOUR);
    expect(await swept()).toEqual(NOTHING);
    expect(await swept({ withinMs: 50 * HOUR })).toEqual({ ...NOTHING, stuck: 1 });
  });
});

describe('not', () => {
  test('while a message of that type is in the outbox, also one that waits for its time', async () => {
    await new AuthRequests(dataSource).authorize(anAuthorizeCommand());
    const { requests, locks, lease } = await aRequest(dataSource, { started: true });
    await deliverAll(database);
    await requests.recordFailure(lease, {
      ...{ errorCode: 'TIMEOUT', errorMessage: '', retryable: true, outcome: 'unknown' },
      nextRetryAt: new Date(Date.now() + 10 * HOUR),
    });
    await locks.release(lease);
    const hold = await aLostHold(dataSource);
    await database.query(
      `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload) VALUES ($1, $2, 'void_request_queued', '')`,
      [hold.authRequestId, RESTAURANT],
    );
    await database.query(
      `UPDATE outbox SET processed_at = NULL WHERE aggregate_id IN (
         SELECT auth_request_id FROM auth_request_state WHERE status = 'PENDING')`,
    );
    const bound = { outboxLateMs: 10 * HOUR };
    await letPass(database, HOUR);
    expect(await swept(bound)).toEqual(NOTHING);
    await deliverAll(database);
    expect(await swept(bound)).toEqual({ voiding: 1, stuck: 2, unsettled: 0 });
  });

  test('under a live lease', async () => {
    const ids = [await aLostRequest(dataSource), await anUnsettledRequest(dataSource)];
    ids.push((await aLostHold(dataSource)).authRequestId);
    const locks = new ProcessingLocks(dataSource);
    const leases = await Promise.all(ids.map((id) => locks.acquire({ ...ref(id), ttlMs: HOUR })));
    await letPass(database, HOUR);
    expect(await swept()).toEqual(NOTHING);
    for (const lease of leases) await locks.release(lease!);
    expect(await swept()).toEqual({ voiding: 1, stuck: 1, unsettled: 1 });
  });

  test('sooner than twice as late as the time before, up to the longest pause', async () => {
    await aLostRequest(dataSource);
    await aLostHold(dataSource);
    const both = { voiding: 1, stuck: 1, unsettled: 0 };
    const options = { maxDelayMs: HOUR, withinMs: 1000 * HOUR };
    for (const minutes of [10, 20, 40, 60, 60, 60]) {
      await letPass(database, (minutes - 1) * MINUTE);
      expect([minutes, await swept(options)]).toEqual([minutes, NOTHING]);
      await letPass(database, MINUTE);
      expect([minutes, await swept(options)]).toEqual([minutes, both]);
      expect(await swept(options)).toEqual(NOTHING);
      await deliverAll(database);
    }
  });

  test('sooner than so long after what a worker has done since', async () => {
    const { requests, locks, lease } = await aRequest(dataSource);
    await deliverAll(database);
    await letPass(database, 11 * MINUTE);
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await locks.release(lease);
    expect(await swept()).toEqual(NOTHING);
    await letPass(database, 10 * MINUTE);
    expect(await swept()).toEqual({ ...NOTHING, stuck: 1 });
  });

  test('sooner than so long after the time that the last failure of a void has named', async () => {
    await aLostHold(dataSource);
    await letPass(database, 30 * MINUTE);
    await database.query(`UPDATE auth_holds SET next_void_at = now() + interval '5 minutes'`);
    await letPass(database, 14 * MINUTE);
    expect(await swept()).toEqual(NOTHING);
    await letPass(database, MINUTE);
    expect(await swept()).toEqual({ ...NOTHING, voiding: 1 });
  });

  test('more than a batch in one look, nor more than perMinute in a minute', async () => {
    for (let count = 0; count < 7; count++) await aLostRequest(dataSource);
    await aLostHold(dataSource);
    await letPass(database, HOUR);
    const sweeper = sending({ batchSize: 3, perMinute: 6 });
    const turns = [await sweeper.runOnce(), await sweeper.runOnce(), await sweeper.runOnce()];
    expect(turns.map(sentBy)).toEqual([
      { voiding: 1, stuck: 3, unsettled: 0 },
      { voiding: 0, stuck: 2, unsettled: 0 },
      NOTHING,
    ]);
    expect(turns.map(({ stuck }) => stuck!.heldBack)).toEqual(['batch', 'per_minute', 'per_minute']);
    expect(await swept()).toEqual({ ...NOTHING, stuck: 2 });
  });
});

describe('an outage of the relay', () => {
  test('of an hour ends without a flood: nothing is sent while the outbox is late, and little after it', async () => {
    const requests = new AuthRequests(dataSource);
    for (let count = 0; count < 30; count++) await requests.authorize(anAuthorizeCommand());
    const lost = await aLostRequest(dataSource);
    await aLostHold(dataSource);
    await letPass(database, HOUR);
    const { outboxAgeMs, ...result } = await sending().runOnce();
    expect(outboxAgeMs).toBeGreaterThan(HOUR - MINUTE);
    expect(result).toEqual({
      ...{ outcome: 'swept', dryRun: false },
      voiding: { sent: [], heldBack: 'outbox_late', givenUp: [] },
      stuck: { sent: [], heldBack: 'outbox_late' },
      unsettled: { sent: [], heldBack: 'outbox_late' },
    });
    const publisher = new RecordingPublisher();
    await new OutboxRelay(dataSource, publisher).runOnce();
    expect(publisher.published).toHaveLength(30);
    // What has just gone out is with a worker; each of them starts an attempt.
    const locks = new ProcessingLocks(dataSource);
    for (const { aggregateId } of publisher.published) {
      const lease = await locks.acquire({ ...ref(aggregateId), ttlMs: HOUR });
      await requests.startAttempt(lease!, { configVersion: 'v1' });
    }
    expect(await swept()).toEqual({ voiding: 1, stuck: 1, unsettled: 0 });
    expect(await queuedIds(database)).toContain(lost);
  });

  test('is not told from a dead letter, and what stands behind one', async () => {
    await aLostRequest(dataSource);
    await new AuthRequests(dataSource).authorize(anAuthorizeCommand());
    await database.query(`UPDATE outbox SET attempts = 10, failed_at = now() WHERE processed_at IS NULL`);
    await database.query(
      `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload)
       SELECT aggregate_id, restaurant_id, 'other', '' FROM outbox WHERE processed_at IS NULL`,
    );
    await letPass(database, HOUR);
    const result = await sending().runOnce();
    expect(result).toMatchObject({ outboxAgeMs: null, stuck: { heldBack: null } });
    expect(sentBy(result)).toEqual({ ...NOTHING, stuck: 1 });
  });

  test('shows in a retry that is due and does not go out', async () => {
    await aLostRequest(dataSource);
    const { authRequestId } = await new AuthRequests(dataSource).authorize(anAuthorizeCommand());
    await database.query('UPDATE outbox SET next_attempt_at = now() WHERE aggregate_id = $1', [authRequestId]);
    await letPass(database, HOUR);
    expect(await sending().runOnce()).toMatchObject({ stuck: { heldBack: 'outbox_late' } });
  });
});

describe('what is given up', () => {
  const eventsOf = (authRequestId: string) => new EventStore(dataSource).readStream(ref(authRequestId));
  const holds = () =>
    database.query<Record<string, unknown>>(
      `SELECT state, sweeps, void_failures, last_void_error, next_void_at, last_event_sequence FROM auth_holds ORDER BY state`,
    );

  test('a void that nobody has carried out after maxSweeps messages is void_failed, by an event', async () => {
    const hold = await aLostHold(dataSource);
    for (const minutes of [10, 20]) {
      await letPass(database, minutes * MINUTE);
      expect(await swept({ maxSweeps: 2 })).toEqual({ ...NOTHING, voiding: 1 });
      await deliverAll(database);
    }
    await letPass(database, 39 * MINUTE);
    expect((await sending({ maxSweeps: 2 }).runOnce()).voiding).toMatchObject({ sent: [], givenUp: [] });
    await letPass(database, MINUTE);
    const given: unknown[] = [];
    const { voiding } = await sending({ maxSweeps: 2, hooks: { gaveUp: (what) => given.push(what) } }).runOnce();
    const givenUp = { restaurantId: RESTAURANT, ...hold, reason: 'NOT_VOIDED_IN_TIME' };
    expect(voiding).toEqual({ sent: [], heldBack: null, givenUp: [givenUp] });
    expect(given).toEqual([givenUp]);
    expect(await holds()).toEqual([
      {
        ...{ state: 'void_failed', sweeps: 2, void_failures: 1, last_void_error: 'NOT_VOIDED_IN_TIME' },
        ...{ next_void_at: null, last_event_sequence: 4 },
      },
    ]);
    expect(await new AuthRequests(dataSource).get(ref(hold.authRequestId))).toMatchObject({
      ...{ status: 'EXPIRED', lastEventSequence: 4 },
    });
    expect((await eventsOf(hold.authRequestId)).at(-1)).toMatchObject({
      type: 'AuthVoidFailed',
      data: { ...hold, errorCode: 'NOT_VOIDED_IN_TIME', isRetryable: false, failureCount: 1, nextAttemptAt: undefined },
      metadata: { hold_state: 'void_failed' },
    });
    expect(await queued(database)).toEqual([]);
    await letPass(database, 100 * HOUR);
    expect((await sending({ maxSweeps: 2 }).runOnce()).voiding).toEqual({ sent: [], heldBack: null, givenUp: [] });
  });

  test('each hold of a request by itself', async () => {
    const { authRequestId } = await aLostHold(dataSource);
    await aLostHold(dataSource, { authRequestId });
    await aLostHold(dataSource, { authRequestId, processorName: '' });
    await database.query('UPDATE auth_holds SET sweeps = 10');
    await letPass(database, 10 * HOUR);
    expect((await sending().runOnce()).voiding!.givenUp).toHaveLength(3);
    expect(await holds()).toMatchObject(
      [4, 5, 6].map((number) => ({ state: 'void_failed', last_event_sequence: number + 2 })),
    );
  });

  test('a void that stands behind a dead letter of the outbox', async () => {
    const { authRequestId } = await aLostHold(dataSource);
    await database.query(
      `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, attempts, failed_at)
       VALUES ($1, $2, 'void_request_queued', '', 10, now())`,
      [authRequestId, RESTAURANT],
    );
    await letPass(database, 11 * MINUTE);
    const { voiding } = await sending().runOnce();
    expect(voiding).toMatchObject({ sent: [], givenUp: [{ authRequestId, reason: 'MESSAGE_REFUSED' }] });
    expect(await holds()).toMatchObject([{ state: 'void_failed', last_void_error: 'MESSAGE_REFUSED' }]);
  });

  test('not a void that a worker holds, or whose last message is still in the outbox', async () => {
    const [held, inOutbox] = [await aLostHold(dataSource), await aLostHold(dataSource)];
    await database.query('UPDATE auth_holds SET sweeps = 10');
    await new ProcessingLocks(dataSource).acquire({ ...ref(held.authRequestId), ttlMs: HOUR });
    await database.query(
      `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload) VALUES ($1, $2, 'void_request_queued', '')`,
      [inOutbox.authRequestId, RESTAURANT],
    );
    await letPass(database, 10 * HOUR);
    expect((await sending().runOnce()).voiding!.givenUp).toEqual([]);
  });

  test('a request is listed with the reason, told once, and shows how often it was sent', async () => {
    const [spent, blocked] = [await aLostRequest(dataSource), await aLostRequest(dataSource)];
    await database.query('UPDATE auth_request_state SET sweeps = 10 WHERE auth_request_id = $1', [spent]);
    await database.query('UPDATE outbox SET processed_at = NULL, failed_at = now() WHERE aggregate_id = $1', [blocked]);
    await letPass(database, 12 * HOUR);
    const given: unknown[] = [];
    const options = {
      ...OFF,
      stuckIntervalMs: 1,
      listingIntervalMs: 1,
      hooks: { gaveUp: (what: unknown) => given.push(what) },
    };
    const sweeper = aSweeper(options);
    const requests = [
      { ...ref(spent), status: 'PENDING', sweeps: 10, reason: 'not_taken_up' },
      { ...ref(blocked), status: 'PENDING', sweeps: 0, reason: 'message_refused' },
    ];
    for (let turn = 0; turn < 2; turn++) {
      const { stuck, listing } = await sweeper.runOnce();
      expect(stuck!.sent).toEqual([]);
      expect(listing).toEqual({ requests, lapsing: [] });
    }
    expect(given).toEqual(requests);
    const listed = await new AuthRequests(dataSource).listStuck({ olderThanMs: MINUTE });
    expect(listed.map(({ authRequestId, sweeps }) => [authRequestId, sweeps])).toEqual([
      [spent, 10],
      [blocked, 0],
    ]);
  });
});

test('holds about to lapse are listed, and nothing is done to them', async () => {
  const soon = await aLostHold(dataSource, { state: 'held' });
  const later = await aLostHold(dataSource, { state: 'held' });
  await aLostHold(dataSource, { state: 'held' });
  for (const [hours, { processorAuthId }] of [
    [23, soon],
    [25, later],
  ] as const) {
    await database.query(
      `UPDATE auth_holds SET hold_expires_at = now() + make_interval(hours => $1) WHERE processor_auth_id = $2`,
      [hours, processorAuthId],
    );
  }
  const { listing } = await aSweeper({ ...OFF, listingIntervalMs: 1 }).runOnce();
  expect(listing!.lapsing).toEqual([
    {
      ...{ restaurantId: RESTAURANT, ...soon, amountCents: 1050, currency: 'USD' },
      holdExpiresAt: expect.any(Date) as Date,
    },
  ]);
  expect(await queued(database)).toEqual([]);
  expect(await database.query(`SELECT DISTINCT state FROM auth_holds`)).toEqual([{ state: 'held' }]);
});

/** One of everything that a sweeper sees to. */
async function oneOfEach() {
  const stale = await aLostRequest(dataSource);
  await letPass(database, 25 * HOUR);
  await aLostRequest(dataSource);
  await anUnsettledRequest(dataSource);
  await aLostHold(dataSource);
  const spent = await aLostRequest(dataSource);
  await database.query('UPDATE auth_request_state SET sweeps = 10 WHERE auth_request_id = $1', [spent]);
  await letPass(database, 12 * HOUR);
  await database.query('DELETE FROM auth_idempotency_keys WHERE expires_at > now()');
  await database.query(
    `INSERT INTO auth_processing_locks (auth_request_id, restaurant_id, worker_id, locked_at, expires_at)
     VALUES (gen_random_uuid(), $1, 'w', now() - interval '2 hours', now() - interval '1 hour')`,
    [RESTAURANT],
  );
  return { stale };
}
const EVERYTHING = `
  SELECT (SELECT jsonb_agg(to_jsonb(row) ORDER BY auth_request_id) FROM auth_request_state AS row) AS requests,
         (SELECT jsonb_agg(to_jsonb(row) ORDER BY processor_auth_id) FROM auth_holds AS row) AS holds,
         (SELECT jsonb_agg(to_jsonb(row) ORDER BY id) FROM outbox AS row) AS messages,
         (SELECT jsonb_agg(to_jsonb(row) ORDER BY auth_request_id) FROM auth_processing_locks AS row) AS leases,
         (SELECT jsonb_agg(to_jsonb(row) ORDER BY idempotency_key) FROM auth_idempotency_keys AS row) AS keys,
         (SELECT count(*) FROM payment_events) AS events`;

const TASKS = ['voiding', 'stuck', 'unsettled', 'listing', 'expiry', 'keys', 'leases', 'messages'] as const;
/** Nothing but this. */
const only = (task: (typeof TASKS)[number]) => ({ ...OFF, [`${task}IntervalMs`]: 1, purgeMessagesAfterMs: HOUR });
const countOf = (part: SweepResult[(typeof TASKS)[number]]) => {
  if (typeof part === 'number') return part;
  if (part && 'requests' in part) return part.requests.length;
  return part && 'sent' in part ? part.sent.length : part?.length;
};

test('everything that a turn sees to, it sees to once', async () => {
  const { stale } = await oneOfEach();
  const sweeper = aSweeper({ purgeMessagesAfterMs: 30 * HOUR });
  const first = await sweeper.runOnce();
  expect(first).toMatchObject({ expiry: [stale], leases: 1, messages: 1 });
  expect(first.keys).toBeGreaterThan(0);
  expect(sentBy(first)).toEqual({ voiding: 1, stuck: 2, unsettled: 1 });
  expect(first.listing!.requests).toHaveLength(1);
  const second = await sweeper.runOnce();
  expect(second).toMatchObject({ expiry: [], keys: 0, leases: 0, messages: 0 });
  expect(sentBy(second)).toEqual(NOTHING);
});

test.each(TASKS)('%s can be done alone, and switched off', async (task) => {
  await oneOfEach();
  const alone = await aSweeper(only(task)).runOnce();
  expect(TASKS.filter((one) => one in alone)).toEqual([task]);
  expect(countOf(alone[task])).toBeGreaterThan(0);
  const all = await aSweeper({ [`${task}IntervalMs`]: 0 }).runOnce();
  expect(TASKS.filter((one) => !(one in all))).toEqual([task]);
});

test('a dry run finds what a turn would do, and writes nothing', async () => {
  const { stale } = await oneOfEach();
  await aLostHold(dataSource);
  await database.query("UPDATE auth_holds SET sweeps = 10 WHERE state_since > now()- interval '1 hour'");
  await letPass(database, 10 * HOUR);
  const before = await database.query(EVERYTHING);
  const sweeper = aSweeper({ purgeMessagesAfterMs: HOUR });
  const dry = await sweeper.runOnce({ dryRun: true });
  expect(await database.query(EVERYTHING)).toEqual(before);
  expect(dry).toMatchObject({ dryRun: true, outcome: 'swept' });
  expect(dry.voiding!.givenUp).toHaveLength(1);
  expect(dry.expiry).toEqual([stale]);
  const done = await sweeper.runOnce();
  for (const task of TASKS) expect([task, countOf(dry[task])]).toEqual([task, countOf(done[task])]);
  expect(dry.voiding).toEqual(done.voiding);
  expect(dry.stuck).toEqual(done.stuck);
});

describe('a sweeper that runs', () => {
  const fast = {
    leaseTtlMs: 200,
    stuckIntervalMs: 5,
    voidingIntervalMs: 5,
    unsettledIntervalMs: 5,
    listingIntervalMs: 5,
  };

  test('looks again and again, and gives its lease back when it is stopped', async () => {
    const sweeper = sending(fast);
    sweeper.start();
    sweeper.start();
    const first = await aLostRequest(dataSource);
    await letPass(database, 11 * MINUTE);
    await until('it is sent', async () => (await queuedIds(database)).includes(first));
    expect(await database.query('SELECT auth_request_id FROM auth_processing_locks')).toEqual([
      { auth_request_id: SWEEPER_LEASE_ID },
    ]);
    await sweeper.stop();
    expect(await database.query('SELECT FROM auth_processing_locks')).toEqual([]);
    sweeper.start();
    await deliverAll(database);
    const second = await aLostRequest(dataSource);
    await letPass(database, 11 * MINUTE);
    await until('the next is sent', async () => (await queuedIds(database)).includes(second));
    await sweeper.stop();
  });

  test('is the only one at work: another waits, says so once, and takes over when it stops', async () => {
    const said: string[] = [];
    const [one, other] = [
      sending(fast),
      sending({ ...fast, hooks: { waiting: () => said.push('waiting'), swept: () => said.push('swept') } }),
    ];
    one.start();
    await until(
      'it holds the lease',
      async () => (await database.query('SELECT FROM auth_processing_locks')).length === 1,
    );
    other.start();
    await until('the other waits', () => said.length > 0);
    expect(await other.runOnce()).toEqual({ outcome: 'another_is_at_work', dryRun: false, outboxAgeMs: null });
    await one.stop();
    await until('the other works', () => said.includes('swept'));
    await other.stop();
    expect(said.slice(0, 2)).toEqual(['waiting', 'swept']);
  });

  test('goes on with its other tasks where one fails, says so once, and when it is over', async () => {
    const lost = await aLostRequest(dataSource);
    await letPass(database, 11 * MINUTE);
    await database.query('ALTER TABLE auth_holds RENAME TO holds_away');
    try {
      const said: string[] = [];
      const sweeper = sending({
        ...{ ...fast, voidingIntervalMs: 100, maxReconnectDelayMs: 50 },
        hooks: { unavailable: () => said.push('unavailable'), recovered: () => said.push('recovered') },
      });
      sweeper.start();
      await until('the other is sent', async () => (await queuedIds(database)).includes(lost));
      expect(said[0]).toBe('unavailable');
      await database.query('ALTER TABLE holds_away RENAME TO auth_holds');
      await until('it is back', () => said.at(-1) === 'recovered');
    } finally {
      await database.query('ALTER TABLE IF EXISTS holds_away RENAME TO auth_holds');
    }
  });

  test('stops when its signal aborts', async () => {
    const stopping = new AbortController();
    const sweeper = sending({ ...fast, signal: stopping.signal });
    sweeper.start();
    await until(
      'it holds the lease',
      async () => (await database.query('SELECT FROM auth_processing_locks')).length === 1,
    );
    stopping.abort();
    await until('it has stopped', async () => (await database.query('SELECT FROM auth_processing_locks')).length === 0);
    await sweeper.stop();
  });

  test('is taken for no request', async () => {
    const sweeper = sending(fast);
    sweeper.start();
    await until(
      'it holds the lease',
      async () => (await database.query('SELECT FROM auth_processing_locks')).length === 1,
    );
    await expect(inspectRequest(dataSource, SWEEPER_LEASE_ID)).rejects.toThrow(AuthRequestNotFoundError);
    const requests = new AuthRequests(dataSource);
    expect(await requests.listStuck({ olderThanMs: 0 })).toEqual([]);
    expect(await requests.listUnsettled({ olderThanMs: 0 })).toEqual([]);
    expect(await requests.get({ restaurantId: SWEEPER_LEASE_ID, authRequestId: SWEEPER_LEASE_ID })).toBeNull();
    await sweeper.stop();
  });
});

test('ages that nothing can have are refused', () => {
  for (const name of ['stuckAfterMs', 'unsettledAfterMs', 'expireAfterMs']) {
    expect(
      () =>
        new Sweeper(dataSource, {
          withinMs: HOUR,
          ...{ stuckAfterMs: 1, unsettledAfterMs: 1, expireAfterMs: 1 },
          [name]: HOUR,
        }),
    ).toThrow(new ConfigurationError(`SweeperOptions: ${name} must be less than withinMs, or no request could match.`));
  }
});
