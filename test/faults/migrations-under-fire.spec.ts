import { setTimeout as delay } from 'node:timers/promises';
import { QueryFailedError } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { migrations } from '../../src/migrations';
import { LOCK_TIMEOUT_MS, MAX_LOCK_HOLD_MS } from '../../src/migrations/helpers/locking';
import { migrate, revert } from '../../src/migrator/migrator';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { LegacyClient } from '../support/legacy/legacy-client';
import { generateLegacyRows } from '../support/legacy/legacy-rows';
import { Load } from '../support/requests/load';
import {
  EXPANDED_LEVEL,
  LATEST_LEVEL,
  LEGACY_LEVEL,
  levelOf,
  MigrationChain,
} from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const FULL = process.env.RUN_FULL === '1';
const REQUESTS = FULL ? 500_000 : 50_000;
const CLIENTS = 4;

jest.setTimeout(FULL ? 1_200_000 : 180_000);

const database = useTestDatabase({ empty: true });

/** Clients at work while a database is migrated. */
interface Fire {
  /** Waits until each of them has got something done. */
  progress(): Promise<void>;
  /** Ends them; throws what any of them was told. @returns the longest wait for an answer, in milliseconds */
  stop(): Promise<number>;
}

async function legacyFire(): Promise<Fire> {
  let stopping = false;
  let done = 0;
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const client = await database.connect();
      const legacy = new LegacyClient(client);
      return { client, legacy };
    }),
  );
  const running = Promise.all(
    clients.map(async ({ client, legacy }) => {
      for (; !stopping; done++) await legacy.workThroughOneRequest();
      await client.end();
    }),
  );
  const failed = running.then(() => new Promise<never>(() => undefined));
  return {
    progress: () => Promise.race([until(() => done, CLIENTS), failed]),
    stop: async () => {
      stopping = true;
      await running;
      return Math.max(...clients.map(({ legacy }) => legacy.longestMs));
    },
  };
}

/** Operations that know no holds, as all of an earlier version. */
const fireWithoutHolds = () => packageFire({ answers: false });

async function packageFire(options: { answers?: boolean } = {}): Promise<Fire> {
  const dataSource = await quietDataSource({ url: database.url, poolSize: CLIENTS + 1 });
  const load = new Load(dataSource, CLIENTS, options);
  const requests = new AuthRequests(dataSource);
  let [stopping, longestMs] = [false, 0];
  const probe = (async () => {
    while (!stopping) {
      const asked = performance.now();
      await requests.authorize(anAuthorizeCommand());
      longestMs = Math.max(longestMs, performance.now() - asked);
    }
  })();
  const failed = probe.then(() => new Promise<never>(() => undefined));
  return {
    progress: () => Promise.race([load.progress(10 * CLIENTS), failed]),
    stop: async () => {
      stopping = true;
      await Promise.all([load.stop(), probe]);
      expect(load.failures).toEqual([]);
      await load.expectKept((sql, params) => database.query(sql, params));
      await dataSource.destroy();
      return longestMs;
    },
  };
}

async function until(count: () => number, more: number): Promise<void> {
  for (const goal = count() + more; count() < goal; await delay(5));
}

/** SQLSTATEs of `lock_timeout` and `statement_timeout`. */
const TIMED_OUT = ['55P03', '57014'];

/** A DataSource that migrates, and each time-out that fires in it. */
async function migrator() {
  const fired: string[] = [];
  const dataSource = await quietDataSource({ url: database.url, poolSize: 1 });
  const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
  dataSource.createQueryRunner = (mode) => {
    const session = createQueryRunner(mode);
    const query = session.query.bind(session);
    session.query = (async (...args: Parameters<typeof query>) => {
      try {
        return (await query(...args)) as unknown;
      } catch (error) {
        const { code } = (error instanceof QueryFailedError ? error.driverError : {}) as { code?: string };
        if (code && TIMED_OUT.includes(code)) fired.push(`${code} at ${args[0]}`);
        throw error;
      }
    }) as typeof session.query;
    return session;
  };
  return { dataSource, fired };
}

/** Walks the chain one migration at a time while clients work. @returns each time-out that fired */
async function migrateUnder(fire: Fire, from: number, to: number): Promise<string[]> {
  const { dataSource, fired } = await migrator();
  for (let level = from; level !== to; level += Math.sign(to - from)) {
    await fire.progress();
    if (from < to) await migrate(dataSource, { to: migrations[level]!.name, say });
    else await revert(dataSource, { say });
  }
  await fire.progress();
  await dataSource.destroy();
  return fired;
}

const say = () => undefined;

const reports: string[] = [];
afterAll(() => process.stderr.write(`${reports.join('\n')}\n`));

beforeAll(async () => {
  await new MigrationChain(database).upTo(LEGACY_LEVEL);
  await generateLegacyRows(database, REQUESTS);
}, 600_000);

test.each([
  { of: 'expand', under: 'legacy clients', from: LEGACY_LEVEL, to: EXPANDED_LEVEL, light: legacyFire },
  { of: 'expand, reverted', under: 'legacy clients', from: EXPANDED_LEVEL, to: LEGACY_LEVEL, light: legacyFire },
  {
    of: 'the end of contract',
    under: 'this package',
    from: levelOf('ContractKeysAndIndexes'),
    to: LATEST_LEVEL,
    light: fireWithoutHolds,
  },
  {
    of: 'what comes after holds, reverted',
    under: 'this package',
    from: LATEST_LEVEL,
    to: levelOf('AddHolds'),
    light: () => packageFire(),
  },
  {
    of: 'what comes after holds',
    under: 'this package',
    from: levelOf('AddHolds'),
    to: LATEST_LEVEL,
    light: () => packageFire(),
  },
  {
    of: 'the end of contract, reverted',
    under: 'this package',
    from: LATEST_LEVEL,
    to: levelOf('ContractKeysAndIndexes'),
    light: fireWithoutHolds,
  },
])('$of: no operation of $under fails, and no time-out fires', async ({ of, from, to, light }) => {
  await new MigrationChain(database).upTo(from);
  const fire = await light();
  const fired = await migrateUnder(fire, from, to);
  const longestMs = await fire.stop();
  expect(fired).toEqual([]);
  reports.push(
    `${of}, over ${REQUESTS.toLocaleString('en-US')} requests: an operation waited ${longestMs.toFixed(0)} ms at most ` +
      `(a lock is waited for ${LOCK_TIMEOUT_MS} ms at most and held ${MAX_LOCK_HOLD_MS} ms at most)`,
  );
});

test('a long transaction in the way delays the migration and not the traffic, of which nothing fails', async () => {
  const level = levelOf('ContractChecks');
  await new MigrationChain(database).upTo(level - 1);
  const fire = await fireWithoutHolds();
  const holder = await database.connect();
  await holder.query('BEGIN; SELECT FROM auth_request_state LIMIT 1');

  const { dataSource, fired } = await migrator();
  const migrated = migrate(dataSource, { to: migrations[level - 1]!.name, say });
  while (fired.length === 0)
    await Promise.race([migrated.then(() => Promise.reject(new Error('not delayed'))), delay(10)]);
  await fire.progress();
  await holder.query('COMMIT');
  await migrated;
  await fire.progress();
  const longestMs = await fire.stop();
  expect(new Set(fired.map((timeOut) => timeOut.slice(0, 5)))).toEqual(new Set(['55P03']));
  reports.push(`with a long transaction in the way: an operation waited ${longestMs.toFixed(0)} ms at most`);
  await holder.end();
  await dataSource.destroy();
});
