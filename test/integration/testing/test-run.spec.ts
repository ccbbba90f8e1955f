import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ConfigurationError,
  createDataSourceOptions,
  migrations,
  PaymentEventsDataSource,
  readHistory,
} from '../../../src';
import {
  createTestDatabase,
  currentTestRun,
  dropTestDatabases,
  FileDatabase,
  listTestDatabases,
  type StartedTestRun,
  startTestRun,
  TemplateError,
  type TestRun,
  useTestDatabase,
} from '../../../src/testing';
import globalSetup from '../../../src/testing/global-setup';
import { publishTestRun } from '../../../src/testing/test-run';
import { failureOf } from '../../support/processes/within';
import { compiled } from '../../support/jest/compiled';

/** The run that this file is a part of: its server is the one that is given to those made here. */
const around = currentTestRun();
const { serverUrl } = around;
const { TEST_DATABASE_URL } = process.env;

beforeEach(() => {
  process.env.TEST_DATABASE_URL = serverUrl;
});
afterEach(() => {
  publishTestRun(around);
  if (TEST_DATABASE_URL === undefined) delete process.env.TEST_DATABASE_URL;
  else process.env.TEST_DATABASE_URL = TEST_DATABASE_URL;
});

const databasesOf = ({ prefix }: Pick<TestRun, 'prefix'>) => listTestDatabases(serverUrl, prefix);

async function areGone(run: Pick<TestRun, 'prefix'>): Promise<boolean> {
  for (let tries = 0; tries < 400; tries++) {
    if ((await databasesOf(run)).length === 0) return true;
    await delay(50);
  }
  return false;
}

describe('a test run', () => {
  let run: StartedTestRun;
  afterEach(() => dropTestDatabases(serverUrl, run.prefix));

  it('has a migrated template, and each file a copy of it', async () => {
    run = await startTestRun();
    expect(run).toMatchObject({ serverUrl, server: { kind: 'given' } });
    const [one, other] = [new FileDatabase(), new FileDatabase()];
    await Promise.all([one.create(), other.create()]);
    const history = await readHistory(await one.dataSource());
    expect(history.map(({ state }) => state)).toEqual(migrations.map(() => 'applied'));
    await one.query('CREATE TABLE mine ()');
    expect(await other.query(`SELECT to_regclass('mine') AS it`)).toEqual([{ it: null }]);
    expect(await databasesOf(run)).toEqual([one.name, other.name, run.template].sort());
    await Promise.all([one.drop(), other.drop()]);
    expect(await databasesOf(run)).toEqual([run.template]);
    await run.end();
    expect(await databasesOf(run)).toEqual([]);
    await run.end();
  });

  it('has in its template what a set-up of the service puts there', async () => {
    run = await startTestRun({
      async prepare(url) {
        const dataSource = await new PaymentEventsDataSource(createDataSourceOptions({ url })).initialize();
        await dataSource.query('CREATE TABLE orders AS SELECT 7 AS id');
        await dataSource.destroy();
      },
    });
    const database = new FileDatabase();
    await database.create();
    expect(await database.query('TABLE orders')).toEqual([{ id: 7 }]);
    await database.drop();
    await run.end();
  });

  it('goes on without a template that could not be made: only what needs it fails, and says why', async () => {
    run = await startTestRun({ prepare: () => Promise.reject(new Error('no orders today')) });
    const [migrated, empty] = [new FileDatabase(), new FileDatabase()];
    const failure = await failureOf(migrated.create());
    expect(failure).toBeInstanceOf(TemplateError);
    expect((failure as Error).message).toContain('no orders today');
    await empty.create({ empty: true });
    expect(await empty.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await empty.drop();
    await run.end();
  });

  it('leaves its databases for someone to look at, when told to', async () => {
    run = await startTestRun();
    const { name } = await createTestDatabase(serverUrl, { prefix: run.prefix });
    expect(await run.keep()).toBe('Drop them when done.');
    expect(await databasesOf(run)).toEqual([name, run.template].sort());
  });

  it('is one for each process, however often the runner asks for it, as in watch mode', async () => {
    const end = await globalSetup();
    run = currentTestRun() as StartedTestRun;
    await globalSetup();
    expect(currentTestRun()).toEqual(run);
    expect(run.prefix).not.toBe(around.prefix);
    await end();
    expect(await databasesOf(run)).toEqual([]);
  });

  const RUNNER = `
    const { FileDatabase, startTestRun } = require('./src/testing');
    startTestRun().then(async ({ prefix }) => {
      const database = new FileDatabase();
      await database.create();
      await database.dataSource();
      console.log(prefix);
      process.stdin.resume().on('end', () => database.closeSessions());
    });`;

  it.each(['end', 'SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    'drops its databases on a server that stays, when its process ends by %s',
    async (ending) => {
      const runner = spawn(process.execPath, ['--eval', RUNNER], {
        cwd: compiled('.'),
        env: { ...process.env, TEST_DATABASE_URL: serverUrl },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const exited = once(runner, 'exit');
      try {
        const [output] = (await once(runner.stdout, 'data')) as [Buffer];
        run = { prefix: output.toString().trim() } as StartedTestRun;
        expect(await databasesOf(run)).toHaveLength(2);
      } finally {
        if (ending === 'end') runner.stdin.end();
        else runner.kill(ending);
      }
      await exited;
      expect(await areGone(run)).toBe(true);
    },
  );
});

describe('a test file', () => {
  it('says which line is missing where no run was started', async () => {
    delete process.env.PAYMENT_EVENTS_DB_TEST_RUN;
    const failure = await failureOf(new FileDatabase().create());
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect((failure as Error).message).toContain("globalSetup: 'payment-events-db/testing/global-setup'");
  });

  it('says what is missing where its database is asked for before the first test, or there are no hooks', () => {
    expect(() => new FileDatabase().url).toThrow('use it in tests and hooks');
    const globals = globalThis as { afterAll?: unknown };
    const { afterAll } = globals;
    delete globals.afterAll;
    try {
      expect(() => useTestDatabase()).toThrow('useTestDatabase({ beforeAll, afterAll })');
    } finally {
      globals.afterAll = afterAll;
    }
  });
});
