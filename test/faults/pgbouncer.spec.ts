import { createContext, runInContext } from 'node:vm';
import { type DataSource } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseError, DatabaseTimeoutError, DatabaseUnavailableError } from '../../src/errors';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { codeBlocks } from '../support/docs/doc-code';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { Load } from '../support/requests/load';
import { PAGE, PgBouncer, pgBouncerVersion } from '../support/database/pgbouncer';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const version = pgBouncerVersion();
if (!version && !process.env.CI) {
  process.stderr.write(
    'The tests of PgBouncer are skipped: it is not installed (Debian: apt-get install pgbouncer).\n',
  );
}

(version || process.env.CI ? describe : describe.skip)('through PgBouncer in transaction mode', () => {
  const database = useTestDatabase();
  const query = <Row>(sql: string, params?: unknown[]) => database.query<Row>(sql, params);
  let role: string;
  let target: string;
  let pooler: PgBouncer;
  let dataSource: DataSource;
  let requests: AuthRequests;
  let locks: ProcessingLocks;

  beforeAll(async () => {
    if (!version) throw new Error('PgBouncer is not installed: apt-get install pgbouncer');
    role = `service_of_${database.name}`;
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'password'`);
    await database.query(
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
       GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`,
    );
    await database.query(
      codeBlocks(PAGE, 'sql').replaceAll('payments_service', role).replaceAll('payment_events_db', database.name),
    );
    target = Object.assign(new URL(database.url), { username: role, password: 'password' }).href;
    // Fewer connections than clients, so that they share them.
    pooler = await PgBouncer.start(target, { default_pool_size: '4' });
    dataSource = fromPage(pooler.url);
    await dataSource.initialize();
    requests = new AuthRequests(dataSource);
    locks = new ProcessingLocks(dataSource);
  });

  afterAll(async () => {
    if (dataSource?.isInitialized) await dataSource.destroy();
    await pooler?.stop();
    if (role) await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  });

  /** The DataSource as the page makes it. */
  function fromPage(url: string): DataSource {
    const context = createContext({ PaymentEventsDataSource, createDataSourceOptions, url });
    return runInContext(`${codeBlocks(PAGE, 'ts')}; dataSource`, context) as DataSource;
  }

  async function aLease(authRequestId: string) {
    const lease = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId: 'w1', ttlMs: 60_000 });
    return lease!;
  }

  it('a request goes from its authorization through its worker to its void', async () => {
    const command = anAuthorizeCommand();
    const { authRequestId } = await requests.authorize(command);
    expect(await requests.authorize(command)).toMatchObject({ authRequestId, replayed: true });
    const lease = await aLease(authRequestId);
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toMatchObject({ outcome: 'proceed' });
    expect(
      await requests.recordFailure(lease, { errorCode: 'T', errorMessage: '', retryable: true, outcome: 'not_asked' }),
    ).toMatchObject({ retryCount: 1 });
    expect(await requests.startAttempt(await locks.renew(lease, 60_000), { configVersion: 'v1' })).toMatchObject({
      outcome: 'proceed',
    });
    expect(await requests.recordAuthorized(lease, anAuthorization())).toMatchObject({ status: 'AUTHORIZED' });
    expect(await locks.release(lease)).toBe(true);
    const ref = { restaurantId: RESTAURANT, authRequestId };
    expect(await requests.requestVoid({ ...ref, idempotencyKey: `void ${authRequestId}`, reason: '' })).toMatchObject({
      outcome: 'queued',
    });
    expect(await requests.get(ref)).toMatchObject({ status: 'VOIDED', lastEventSequence: 6 });
  });

  it('a transaction of the caller stays on one connection', async () => {
    const commands = [anAuthorizeCommand(), anAuthorizeCommand()];
    const both = (end: () => Promise<void>) =>
      dataSource.transaction(async (manager) => {
        for (const command of commands) await requests.authorize(command, manager);
        await end();
      });
    const undone = Array.from({ length: 8 }, () => both(() => Promise.reject(new Error('undo'))));
    for (const outcome of await Promise.allSettled(undone)) expect(outcome.status).toBe('rejected');
    await both(() => Promise.resolve());
    for (const command of commands) expect(await requests.authorize(command)).toMatchObject({ replayed: true });
  });

  it('32 clients at once share four connections', async () => {
    const load = new Load(dataSource, 32);
    await load.progress(400);
    const sessions = await query(`SELECT FROM pg_stat_activity WHERE usename = $1`, [role]);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(sessions.length).toBeLessThanOrEqual(4);
    await load.expectKept(query);
    await expectNothingHalfDone(query, await database.dataSource());
  });

  it('the time-outs of the role end a wait for a lock', async () => {
    await query(`ALTER ROLE ${role} IN DATABASE ${database.name} SET lock_timeout = '200ms'`);
    const fresh = await PgBouncer.start(target);
    const impatient = await fromPage(fresh.url).initialize();
    try {
      const [settings] = await impatient.query<Record<string, string>[]>(
        `SELECT current_setting('statement_timeout') AS statement,
                current_setting('idle_in_transaction_session_timeout') AS idle`,
      );
      expect(settings).toEqual({ statement: '30s', idle: '30s' });
      const command = anAuthorizeCommand();
      const failure = await dataSource.transaction(async (manager) => {
        await requests.authorize(command, manager);
        return await failureOf(new AuthRequests(impatient).authorize(command));
      });
      expect(failure).toEqual(new DatabaseTimeoutError('55P03'));
    } finally {
      await impatient.destroy();
      await fresh.stop();
    }
  });

  it('a connection to the server that does not come in time is a retryable error', async () => {
    const narrow = await PgBouncer.start(target, { default_pool_size: '1', query_wait_timeout: '1' });
    const crowded = await fromPage(narrow.url).initialize();
    try {
      const failure = await crowded.transaction(async (manager) => {
        const held = new AuthRequests(crowded);
        await held.authorize(anAuthorizeCommand(), manager);
        return await failureOf(held.authorize(anAuthorizeCommand()));
      });
      expect(failure).toEqual(new DatabaseUnavailableError('08P01'));
    } finally {
      await crowded.destroy();
      await narrow.stop();
    }
  });

  describe('without what the page says', () => {
    it('time-outs among the connection options are refused at once', async () => {
      const failure = await failureOf(quietDataSource({ url: pooler.url, preparedStatements: 'unnamed' }));
      expect(failure).toMatchObject({ code: '08P01', message: 'unsupported startup parameter: statement_timeout' });
    });

    const before121 = !version || version[0] < 1 || (version[0] === 1 && version[1] < 21);
    (before121 ? it : it.skip)('named statements meet those of other clients', async () => {
      const settings = { url: pooler.url, timeoutsVia: 'role' } as const;
      const clients = [await quietDataSource(settings), await quietDataSource(settings)];
      try {
        const operations = Array.from({ length: 40 }, (_, index) =>
          new AuthRequests(clients[index % 2]!).authorize(anAuthorizeCommand()),
        );
        const failures = (await Promise.allSettled(operations)).flatMap((outcome) =>
          outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
        );
        expect(failures.length).toBeGreaterThan(0);
        // What a connection of the server does not have yet is run without a name, and succeeds.
        for (const failure of failures) {
          expect(failure).toBeInstanceOf(DatabaseError);
          expect(failure).toMatchObject({ sqlState: '42P05' });
        }
      } finally {
        for (const client of clients) await client.destroy();
      }
    });
  });
});
