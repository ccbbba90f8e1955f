import { setTimeout as delay } from 'node:timers/promises';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { encodeEvent } from '../../src/event-store/event-codec';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { giveUpVoids } from '../../src/sweeper/give-up-voids';
import { sendRequests } from '../../src/sweeper/send-requests';
import { sendVoids } from '../../src/sweeper/send-voids';
import { SWEEPER_LEASE_ID, Sweeper } from '../../src/sweeper/sweeper';
import {
  DEFAULTS,
  type SweeperOptions,
  type SweeperSettings,
  type TurnSettings,
} from '../../src/sweeper/sweeper-options';
import { SweepProcess } from '../fixtures/sweeper/sweep-process';
import { RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, crowdOf } from '../support/requests/races';
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
  type LostHold,
  queuedIds,
} from '../support/sweeper/sweeping';

const SWEEPERS = 6;
const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
beforeAll(async () => {
  crowd = await crowdOf(2 * SWEEPERS, database);
});
afterAll(() => crowd.destroy());
beforeEach(() => forgetAll(database));
afterEach(() => SweepProcess.killAll());

const settings = (changes: Partial<SweeperSettings> = {}): TurnSettings => ({
  ...DEFAULTS,
  ...changes,
  fence: undefined,
});
const many = <T>(count: number, make: () => Promise<T>) => atOnce(count, make);

/** Without the lease, which keeps them apart where all is well. */
describe('sweepers at once', () => {
  test('send each message once, and count it once', async () => {
    const requests = await many(20, () => aLostRequest(crowd));
    const unsettled = await many(10, () => anUnsettledRequest(crowd));
    const holds = (await many(20, () => aLostHold(crowd))).map(({ authRequestId }) => authRequestId);
    const all = [...requests, ...unsettled, ...holds].toSorted();
    const session = sessionOf(crowd);
    for (let round = 1; round <= 12; round++) {
      await letPass(database, HOUR * 2 ** round);
      const rules = settings({ withinMs: HOUR * 2 ** 20, settleWithinMs: HOUR * 2 ** 20, maxSweeps: 100 });
      const sent = await atOnce(SWEEPERS, async (index) => {
        await delay(Math.random() * 5);
        const looks = [
          () => sendRequests(session, 'stuck', rules, 100, false),
          () => sendRequests(session, 'unsettled', rules, 100, false),
          () => sendVoids(session, rules, 100, false),
        ];
        const found: { authRequestId: string }[] = [];
        for (let look = 0; look < 3; look++) found.push(...(await looks[(index + look) % 3]!()));
        return found.map(({ authRequestId }) => authRequestId);
      });
      expect([round, sent.flat().toSorted()]).toEqual([round, all]);
      expect([round, await queuedIds(database)]).toEqual([round, all]);
      expect(
        await database.query(
          `SELECT DISTINCT sweeps FROM (SELECT sweeps FROM auth_holds
             UNION ALL SELECT sweeps FROM auth_request_state WHERE auth_request_id <> ALL ($1)) AS row`,
          [holds],
        ),
      ).toEqual([{ sweeps: round }]);
      await deliverAll(database);
    }
  });

  test('give up each void once, by one event', async () => {
    const session = sessionOf(crowd);
    for (let round = 0; round < 6; round++) {
      await forgetAll(database);
      const holds = await many(15, () => aLostHold(crowd));
      await Promise.all(holds.slice(0, 5).map(({ authRequestId }) => aLostHold(crowd, { authRequestId })));
      await database.query('UPDATE auth_holds SET sweeps = 10');
      await letPass(database, 10 * HOUR);
      const given = await atOnce(SWEEPERS, () => giveUpVoids(session, settings(), false, () => false));
      // What one was writing, another has left for the next turn.
      const rest = await giveUpVoids(session, settings(), false, () => false);
      const ids = [...given.flat(), ...rest].map(({ processorAuthId }) => processorAuthId);
      expect(ids).toHaveLength(20);
      expect(new Set(ids).size).toBe(20);
      expect(await endsOf()).toEqual({ void_failed: 20 });
      await requireNumbered();
    }
  });
});

test('a message that is queued while a sweeper looks is the only one', async () => {
  const session = sessionOf(crowd);
  const rules = settings({ stuckAfterMs: 1, maxSweeps: 1_000 });
  for (let round = 0; round < 8; round++) {
    await forgetAll(database);
    const ids = await many(80, () => aLostRequest(crowd));
    // As an operation does: event's number and message in one transaction, which takes its time.
    const writers = ids.map(async (id) => {
      await delay(Math.random() * 60);
      await crowd.query(
        `WITH changed AS (
           UPDATE auth_request_state SET last_event_sequence = last_event_sequence + 1
           WHERE auth_request_id = $1 AND NOT EXISTS (
             SELECT FROM outbox WHERE aggregate_id = $1 AND processed_at IS NULL) AND sweeps = 0
           RETURNING *
         ), message AS (
           INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload)
           SELECT auth_request_id, restaurant_id, 'auth_request_queued', '\\x0a00' FROM changed
         ) SELECT pg_sleep(random() * 0.01) FROM changed`,
        [id],
      );
    });
    let writing = true;
    const sweepers = atOnce(4, async () => {
      while (writing) await sendRequests(session, 'stuck', rules, 100, false);
    });
    await Promise.all(writers);
    writing = false;
    await sweepers;
    const twice = await database.query(
      'SELECT aggregate_id FROM outbox WHERE processed_at IS NULL GROUP BY aggregate_id HAVING count(*) > 1',
    );
    expect([round, twice]).toEqual([round, []]);
  }
});

test('messages of one request have their numbers in the order in which they are committed, the sweeper with all others', async () => {
  const { authRequestId } = await aLostHold(crowd);
  await letPass(database, 10 * HOUR);
  const write = `SELECT FROM auth_request_state WHERE auth_request_id = $1 FOR UPDATE NOWAIT`;
  const sent = await crowd.transaction(async (manager) => {
    // As whatever queues a message for the request.
    await manager.query(write, [authRequestId]);
    return await sendVoids(sessionOf(crowd), settings(), 100, false);
  });
  expect(sent).toEqual([]);
  await crowd.transaction(async (manager) => {
    expect(await sendVoids(sessionOf(crowd, manager), settings(), 100, false)).toHaveLength(1);
    await expect(crowd.query(write, [authRequestId])).rejects.toMatchObject({ code: '55P03' });
  });
});

describe('a void that ends while it is given up', () => {
  test('ends as the processor says: no deadlock, whatever comes first', async () => {
    const session = sessionOf(crowd);
    for (let round = 0; round < 6; round++) {
      await forgetAll(database);
      const holds = await many(20, () => aLostHold(crowd));
      await database.query('UPDATE auth_holds SET sweeps = 10');
      await letPass(database, 10 * HOUR);
      const lost = atOnce(3, () => giveUpVoids(session, settings(), false, () => false));
      const sent = atOnce(3, () => sendVoids(session, settings({ maxSweeps: 11 }), 100, false));
      await Promise.all([lost, sent, ...holds.map((hold) => recordVoided(hold))]);
      expect(await endsOf()).toEqual({ voided: 20 });
      await requireNumbered();
    }
  });

  /** As a worker does: request's row, hold, event. */
  async function recordVoided({ authRequestId, processorName, processorAuthId }: LostHold): Promise<void> {
    await delay(Math.random() * 20);
    const event = encodeEvent({
      type: 'AuthVoidCompleted',
      data: { authRequestId, processorName, processorAuthId, completedAt: new Date() },
    });
    await crowd.query(
      `WITH request AS (
         SELECT auth_request_id FROM auth_request_state WHERE auth_request_id = $1 FOR UPDATE
       ), hold AS (
         SELECT auth_holds.auth_request_id FROM auth_holds JOIN request USING (auth_request_id)
         WHERE processor_auth_id = $2 FOR UPDATE OF auth_holds
       ), changed AS (
         UPDATE auth_request_state AS state
         SET last_event_sequence = last_event_sequence + 1, last_event_id = gen_random_uuid()
         FROM hold WHERE state.auth_request_id = hold.auth_request_id RETURNING state.*
       ), event AS (
         INSERT INTO payment_events
           (aggregate_id, aggregate_type, restaurant_id, event_type, event_id, sequence_number, event_data, metadata)
         SELECT auth_request_id, 'auth_request', restaurant_id, 'AuthVoidCompleted', last_event_id, last_event_sequence, $3,
                '{"hold_state": "voided"}'
         FROM changed
       )
       UPDATE auth_holds SET state = 'voided', last_event_sequence = changed.last_event_sequence
       FROM changed WHERE auth_holds.auth_request_id = changed.auth_request_id AND auth_holds.processor_auth_id = $2`,
      [authRequestId, processorAuthId, Buffer.from(event)],
    );
  }
});

describe('the lease', () => {
  const flags = ['--stuck-interval-ms', '20', '--lease-ttl-ms', '500'];
  const running: Sweeper[] = [];
  afterEach(() => Promise.all(running.splice(0).map((sweeper) => sweeper.stop())));
  const aSweeper = (options: SweeperOptions) => {
    const sweeper = new Sweeper(crowd, options);
    running.push(sweeper);
    return sweeper;
  };
  const leases = () =>
    database.query('SELECT worker_id FROM auth_processing_locks WHERE auth_request_id = $1', [SWEEPER_LEASE_ID]);

  test('of a sweeper that was killed is taken over when it has expired, and nothing is sent twice', async () => {
    const first = new SweepProcess({ databaseUrl: database.url }, flags);
    await until('it works', async () => (await leases()).length > 0);
    const waiting: string[] = [];
    const next = aSweeper({
      ...{ leaseTtlMs: 500, stuckIntervalMs: 20 },
      hooks: { waiting: () => waiting.push('waiting') },
    });
    next.start();
    await until('the next waits', () => waiting.length > 0);
    const one = await aLostRequest(crowd);
    await letPass(database, HOUR);
    await until('the first sends', async () => (await queuedIds(database)).length > 0);
    await first.end('SIGKILL');
    await deliverAll(database);
    const other = await aLostRequest(crowd);
    await letPass(database, HOUR / 4);
    await until('the next sends', async () => (await queuedIds(database)).includes(other));
    await next.stop();
    expect(await database.query('SELECT DISTINCT sweeps FROM auth_request_state')).toEqual([{ sweeps: 1 }]);
    expect(
      await database.query(
        'SELECT count(*)::integer FROM outbox GROUP BY aggregate_id HAVING aggregate_id = ANY ($1)',
        [[one, other]],
      ),
    ).toEqual([{ count: 2 }, { count: 2 }]);
    expect(await leases()).toEqual([]);
  });

  test('lost while it works ends the work before the next task; it is taken again', async () => {
    const sweeper = aSweeper({ leaseTtlMs: 300, stuckIntervalMs: 20 });
    sweeper.start();
    await until('it works', async () => (await leases()).length > 0);
    await database.query(`UPDATE auth_processing_locks SET worker_id = 'another', locked_at = now() - interval '1 minute',
                            expires_at = clock_timestamp() + interval '1 second', fencing_token = 1`);
    await until(
      'it has it again',
      async () => (await database.query(`SELECT FROM auth_processing_locks WHERE worker_id <> 'another'`)).length > 0,
    );
    const one = await aLostRequest(crowd);
    await letPass(database, HOUR);
    await until('it sends', async () => (await queuedIds(database)).includes(one));
    await sweeper.stop();
  });

  test('is not needed for a message to be sent once: a worker that holds a request meets none of it', async () => {
    const locks = new ProcessingLocks(crowd);
    const requests = new AuthRequests(crowd);
    const session = sessionOf(crowd);
    const rules = settings({ stuckAfterMs: 1, maxSweeps: 1_000 });
    for (let round = 0; round < 40; round++) {
      const authRequestId = await aLostRequest(crowd);
      const ref = { restaurantId: RESTAURANT, authRequestId };
      const [sent, worked] = await Promise.all([
        atOnce(3, () => sendRequests(session, 'stuck', rules, 100, false)),
        delay(Math.random() * 4).then(() =>
          locks.withLock({ ...ref, ttlMs: HOUR }, (lease) => requests.startAttempt(lease, { configVersion: 'v1' })),
        ),
      ]);
      expect(worked).toMatchObject({ outcome: 'proceed' });
      const count = sent.flat().filter((one) => one.authRequestId === authRequestId).length;
      expect(count).toBeLessThan(2);
      expect((await queuedIds(database)).filter((id) => id === authRequestId)).toHaveLength(count);
      await forgetAll(database);
    }
  });
});

/** How many holds there are of each state. */
async function endsOf(): Promise<Record<string, number>> {
  const rows = await database.query<{ state: string; count: number }>(
    'SELECT state, count(*)::integer AS count FROM auth_holds GROUP BY state',
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

/** The events of each request are numbered 1 to the number that its row has, and every hold has its last event. */
async function requireNumbered(): Promise<void> {
  const wrong = await database.query(
    `SELECT auth_request_id FROM auth_request_state AS state WHERE last_event_sequence <> (
       SELECT count(*) FROM payment_events WHERE aggregate_id = state.auth_request_id)`,
  );
  expect(wrong).toEqual([]);
}
