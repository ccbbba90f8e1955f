import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type Pool } from 'pg';
import { DataSource, type EntityManager, type EntitySubscriberInterface } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { text } from '../../src/database/columns';
import { operation } from '../../src/database/operation';
import { transaction } from '../../src/database/transaction';
import {
  DatabaseUnavailableError,
  OutcomeUnknownError,
  PaymentEventsDbError,
  TransactionAbortedError,
} from '../../src/errors';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf, within } from '../support/processes/within';

const database = useTestDatabase();
const LIMIT_MS = 20_000;

let proxy: Proxy;
let dataSource: PaymentEventsDataSource;

beforeAll(async () => {
  await database.query('CREATE TABLE notes (text text)');
});
beforeEach(async () => {
  proxy = await Proxy.start(database.url);
  dataSource = await quietDataSource({ url: proxy.url, poolSize: 2, connectTimeoutMs: 2_000, answerTimeoutMs: 2_000 });
});
afterEach(async () => {
  await dataSource.destroy();
  await proxy.close();
});

/** The shapes in which a service runs a transaction. Each writes a note, then does `more`. */
type More = (query: (sql: string) => Promise<unknown>, manager?: EntityManager) => Promise<unknown>;
const shapes: Record<string, (source: DataSource, note: string, more: More) => Promise<unknown>> = {
  'dataSource.transaction': (source, note, more) =>
    source.transaction(async (manager) => {
      await manager.query('INSERT INTO notes VALUES ($1)', [note]);
      await more((sql) => manager.query(sql), manager);
    }),
  'manager.transaction': (source, note, more) =>
    source.manager.transaction(async (manager) => {
      await manager.query('INSERT INTO notes VALUES ($1)', [note]);
      await more((sql) => manager.query(sql), manager);
    }),
  'QueryRunner.commitTransaction': async (source, note, more) => {
    const queryRunner = source.createQueryRunner();
    try {
      await queryRunner.startTransaction();
      await queryRunner.query('INSERT INTO notes VALUES ($1)', [note]);
      await more((sql) => queryRunner.query(sql), queryRunner.manager);
      await queryRunner.commitTransaction();
    } catch (error) {
      await queryRunner.rollbackTransaction();
      throw error;
    } finally {
      await queryRunner.release();
    }
  },
  "the package's own transaction": (source, note, more) =>
    transaction(source, {}, async (session) => {
      await session.write(NOTE, { note });
      await more((sql) => session.rows(operation({ name: 'more', input: {}, sql }), {}));
    }),
  'one that sends its first statement with BEGIN and its last with COMMIT': (source, note, more) =>
    transaction(
      source,
      { lock_timeout: 1_000 },
      async (session) => {
        await session.rows(LOOK, {});
        session.writeLast(NOTE, { note });
        await more((sql) => session.rows(operation({ name: 'more', input: {}, sql }), {}));
      },
      { readsFirst: true },
    ),
};
const LOOK = operation({ name: 'look', input: {}, sql: 'SELECT FROM notes' });
const NOTE = operation({ name: 'note', input: { note: text }, sql: 'INSERT INTO notes SELECT note FROM input' });
const noted = async (note: string) => (await database.query('SELECT FROM notes WHERE text = $1', [note])).length;
let notes = 0;
const aNote = () => `note ${++notes}`;

describe.each(Object.entries(shapes))('%s', (_name, run) => {
  describe.each([2_000, 0])('with an answer time-out of %d ms', (answerTimeoutMs) => {
    let source: PaymentEventsDataSource;
    const heard: string[] = [];
    const subscriber: EntitySubscriberInterface = {
      beforeTransactionCommit: () => void heard.push('before commit'),
      afterTransactionCommit: () => void heard.push('committed'),
    };
    beforeEach(async () => {
      heard.length = 0;
      source = await quietDataSource({ url: proxy.url, poolSize: 1, answerTimeoutMs });
      source.subscribers.push(subscriber);
    });
    afterEach(() => source.destroy());

    it('is not called committed where its work has caught an error of the database', async () => {
      const note = aNote();
      const swallowing = run(source, note, (query) => query('SELECT 1 / 0').catch(() => undefined));
      expect(await within(LIMIT_MS, 'the transaction', failureOf(swallowing))).toBeInstanceOf(TransactionAbortedError);
      expect(await noted(note)).toBe(0);
      expect(heard).toEqual([]);
      const next = aNote();
      await run(source, next, () => Promise.resolve());
      expect(await noted(next)).toBe(1);
    });

    it('is not called committed where the error has not come yet when it is to be committed', async () => {
      const note = aNote();
      const hasty = run(source, note, (query) => {
        query('SELECT pg_sleep(0.05), 1 / 0').catch(() => undefined);
        return Promise.resolve();
      });
      expect(await within(LIMIT_MS, 'the transaction', failureOf(hasty))).toBeInstanceOf(TransactionAbortedError);
      expect(await noted(note)).toBe(0);
      expect(heard).not.toContain('committed');
    });
  });

  /** What a packet of the server's says after the given message of it. */
  const upTo = (data: Buffer, text: string) => {
    const at = data.indexOf(text);
    return at < 0 ? undefined : data.subarray(0, at + text.length);
  };
  const SENT = Buffer.from('COMMIT\0');

  it('has an unknown outcome where the connection breaks before COMMIT has arrived, and where its answer is lost', async () => {
    for (const [arrives, expected] of [
      [false, 0],
      [true, 1],
    ] as const) {
      const note = aNote();
      proxy.intercept = (what, data) =>
        what === 'requests' && data.includes(SENT)
          ? { pass: arrives ? data : Buffer.alloc(0), end: !arrives }
          : undefined;
      if (arrives) {
        proxy.intercept = (what, data) =>
          what === 'answers' && data.includes(SENT) ? { pass: Buffer.alloc(0), end: true } : undefined;
      }
      const failure = await within(
        LIMIT_MS,
        'the transaction',
        failureOf(run(dataSource, note, () => Promise.resolve())),
      );
      proxy.intercept = undefined;
      expect(failure).toBeInstanceOf(OutcomeUnknownError);
      expect(failure).toMatchObject({ retryable: false, code: 'OUTCOME_UNKNOWN' });
      await delay(50);
      expect(await noted(note)).toBe(expected);
    }
  });

  it('has an unknown outcome where the network swallows COMMIT or its answer', async () => {
    for (const swallowed of ['requests', 'answers'] as const) {
      const note = aNote();
      const lost = run(dataSource, note, () => Promise.resolve((proxy.swallow = swallowed)));
      expect(await within(LIMIT_MS, 'the transaction', failureOf(lost))).toBeInstanceOf(OutcomeUnknownError);
      proxy.swallow = 'nothing';
    }
  });

  it('has succeeded where CommandComplete of COMMIT was received, no matter what happened to the connection then', async () => {
    for (let round = 0; round < 5; round++) {
      const note = aNote();
      let cuts = 0;
      proxy.intercept = (what, data) => {
        const heard = what === 'answers' ? upTo(data, 'COMMIT\0') : undefined;
        if (heard) cuts++;
        return heard && { pass: heard, end: true };
      };
      await within(
        LIMIT_MS,
        'the transaction',
        run(dataSource, note, () => Promise.resolve()),
      );
      proxy.intercept = undefined;
      expect(cuts).toBe(1);
      expect(await noted(note)).toBe(1);
      const next = aNote();
      await run(dataSource, next, () => Promise.resolve());
      expect(await noted(next)).toBe(1);
    }
  });

  it('has an unknown outcome where the server ends the session during COMMIT, and none where it refuses COMMIT', async () => {
    await database.query(`
      CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.text LIKE 'refused%' THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF;
        PERFORM pg_sleep(30);
        RETURN NULL;
      END $$;
      CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.text ~ '^(refused|slow)') EXECUTE FUNCTION at_commit()`);
    try {
      const slow = failureOf(run(dataSource, 'slow', () => Promise.resolve()));
      const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'`;
      while ((await database.query(end)).length === 0) await delay(20);
      expect(await within(LIMIT_MS, 'the transaction', slow)).toBeInstanceOf(OutcomeUnknownError);
      const refused = await failureOf(run(dataSource, 'refused', () => Promise.resolve()));
      expect(refused).not.toBeInstanceOf(OutcomeUnknownError);
      expect(JSON.stringify(refused)).toContain('40001');
      expect((await noted('slow')) + (await noted('refused'))).toBe(0);
    } finally {
      await database.query('DROP TRIGGER at_commit ON notes; DROP FUNCTION at_commit');
    }
  });

  it('is known to be undone where its session had ended before COMMIT was sent', async () => {
    const note = aNote();
    const ended = run(dataSource, note, async (query) => {
      await query(`SET LOCAL idle_in_transaction_session_timeout = '50ms'`);
      await delay(400);
    });
    const failure = await within(LIMIT_MS, 'the transaction', failureOf(ended));
    expect(failure).not.toBeInstanceOf(OutcomeUnknownError);
    expect(await noted(note)).toBe(0);
  });

  it('throws what is its own as it was thrown', async () => {
    const socket = connect({ port: 1, host: '127.0.0.1' });
    const refused = await failureOf(once(socket, 'connect'));
    expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
    const own = [
      refused,
      Object.assign(new Error('14 UNAVAILABLE: no connection'), { code: 14 }),
      Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }),
      Object.assign(new Error('of another database'), { code: '40001', severity: 'ERROR' }),
      new Error('Connection terminated unexpectedly'),
      'a text',
      undefined,
    ];
    for (const error of own) {
      const note = aNote();
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      expect(await failureOf(run(dataSource, note, () => Promise.reject(error)))).toBe(error);
      expect(await noted(note)).toBe(0);
    }
  });
});

it('a nested transaction that caught an error is undone by itself, and the outer one goes on', async () => {
  const [outer, inner] = [aNote(), aNote()];
  await dataSource.transaction(async (manager) => {
    await manager.query('INSERT INTO notes VALUES ($1)', [outer]);
    const nested = manager.transaction(async (savepoint) => {
      await savepoint.query('INSERT INTO notes VALUES ($1)', [inner]);
      await savepoint.query('SELECT 1 / 0').catch(() => undefined);
    });
    expect(await failureOf(nested)).toBeInstanceOf(TransactionAbortedError);
  });
  expect([await noted(outer), await noted(inner)]).toEqual([1, 0]);
});

it('an operation in a transaction that has been aborted says so', async () => {
  const requests = new AuthRequests(dataSource);
  const failures: unknown[] = [];
  const swallowing = dataSource.transaction(async (manager) => {
    await manager.query('SELECT 1 / 0').catch(() => undefined);
    failures.push(await failureOf(requests.authorize(anAuthorizeCommand(), manager)));
  });
  expect(await failureOf(swallowing)).toBeInstanceOf(TransactionAbortedError);
  expect(failures).toEqual([expect.any(TransactionAbortedError)]);
});

it('a lost connection to another database is not taken for ours', async () => {
  const elsewhere = await Proxy.start(database.url);
  const other = await new DataSource({ type: 'postgres', url: elsewhere.url, logging: false }).initialize();
  try {
    const failure = await failureOf(
      dataSource.transaction(async () => {
        const asked = other.query('SELECT pg_sleep(1)');
        setTimeout(() => elsewhere.cut(), 100);
        await asked;
      }),
    );
    expect(failure).not.toBeInstanceOf(PaymentEventsDbError);
  } finally {
    await other.destroy();
    await elsewhere.close();
  }
});

it('a transaction that has lost its connection before its end may be run again', async () => {
  const lost = dataSource.transaction(async (manager) => {
    await manager.query('SELECT 1');
    proxy.cut();
    await manager.query('SELECT 1');
  });
  const failure = await within(LIMIT_MS, 'the transaction', failureOf(lost));
  expect(failure).toBeInstanceOf(DatabaseUnavailableError);
  expect(failure).toMatchObject({ retryable: true });
});

describe('a transaction that sends its last writes with COMMIT', () => {
  const NONE = operation({ name: 'none', input: {}, sql: 'INSERT INTO notes SELECT 1 / 0' });

  it('is undone as a whole where one of them fails, and tells of that one', async () => {
    const [first, last] = [aNote(), aNote()];
    const ended = transaction(dataSource, {}, (session) => {
      session.writeLast(NOTE, { note: first });
      session.writeLast(NONE, {});
      session.writeLast(NOTE, { note: last });
      return Promise.resolve();
    });
    expect(await failureOf(ended)).toMatchObject({ code: 'DATABASE_ERROR', sqlState: '22012' });
    expect([await noted(first), await noted(last)]).toEqual([0, 0]);
    // Its connection is in no transaction, and waits for answers again.
    await transaction(dataSource, {}, (session) => session.write(NOTE, { note: first }));
    expect(await noted(first)).toBe(1);
  });

  it('counts no answer to its first statement where BEGIN has failed, and tells of BEGIN', async () => {
    let counted = false;
    const ended = transaction(
      dataSource,
      { lock_timeout: 'soon' },
      async (session) => {
        await session.rows(LOOK, {});
        counted = true;
      },
      { readsFirst: true },
    );
    expect(await failureOf(ended)).toMatchObject({ code: 'DATABASE_ERROR', sqlState: '22023' });
    expect(counted).toBe(false);
  });

  it.each([
    ['two round trips', 2, () => undefined],
    // As its older versions do.
    ['four where pg waits for each answer', 4, (client: object) => Reflect.deleteProperty(client, 'pipeline')],
  ])('takes %s', async (_what, expected, prepare) => {
    const pool = (dataSource.driver as unknown as { master: Pool & { _clients: object[] } }).master;
    const run = () =>
      transaction(
        dataSource,
        {},
        async (session) => {
          await session.rows(LOOK, {});
          session.writeLast(NOTE, { note: aNote() });
        },
        { readsFirst: true },
      );
    await run();
    pool._clients.forEach(prepare);
    let [trips, last] = [0, 'answers'];
    proxy.intercept = (direction) => {
      if (direction === 'requests' && last === 'answers') trips++;
      last = direction;
      return undefined;
    };
    await run();
    proxy.intercept = undefined;
    expect(trips).toBe(expected);
    expect(await noted(`note ${notes}`)).toBe(1);
  });
});
