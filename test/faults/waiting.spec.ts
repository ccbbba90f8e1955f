import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Readable, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Pool } from 'pg';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError } from '../../src/errors';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf, within } from '../support/processes/within';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, eventually } from '../support/requests/races';
import { compiled } from '../support/jest/compiled';

const LIMIT_MS = 40_000;
const LONG = { timeoutMs: 120_000 };

const database = useTestDatabase();
const refsOf = (requests: AuthRequests, count: number) =>
  atOnce(count, async () => ({
    restaurantId: RESTAURANT,
    authRequestId: (await requests.authorize(anAuthorizeCommand())).authRequestId,
  }));

describe('a server that goes away and comes back', () => {
  let folder: TemporaryDirectory;
  let server: EmbeddedServer;
  let dataSource: PaymentEventsDataSource;
  let other: PaymentEventsDataSource;

  beforeAll(async () => {
    folder = new TemporaryDirectory();
    server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
    const { url } = await createTestDatabase(server.url);
    [dataSource, other] = [await quietDataSource({ url }), await quietDataSource({ url })];
    await dataSource.runMigrations();
  });
  afterAll(async () => {
    await dataSource?.destroy();
    await other?.destroy();
    await folder.remove();
  });

  it('is waited for by those who have time, and ends the others when theirs is up', async () => {
    const requests = new AuthRequests(dataSource);
    for (let round = 0; round < 3; round++) {
      const refs = await refsOf(requests, 20);
      const waiting = Promise.all(refs.map((ref) => requests.waitForResult(ref, LONG)));
      const hasty = failureOf(requests.waitForResult(refs[0]!, { timeoutMs: 1_000 }));
      await delay(Math.random() * 100);
      await server.kill();
      const late = failureOf(requests.waitForResult(refs[0]!, { timeoutMs: 300 }));
      for (const failure of await within(LIMIT_MS, 'those in haste', Promise.all([hasty, late]))) {
        expect(failure).toBeInstanceOf(DatabaseUnavailableError);
      }
      server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, port: server.port });
      // Its connections are broken as well, and each is found to be so once.
      await eventually(() => new AuthRequests(other).expireStale({ olderThanMs: 1 }).then(Boolean, () => false));
      const statuses = (await within(LIMIT_MS, 'the others', waiting)).map(({ status }) => status);
      expect(new Set(statuses)).toEqual(new Set(['EXPIRED']));
    }
  });
});

describe('a network that swallows', () => {
  let proxy: Proxy;
  let dataSource: PaymentEventsDataSource;
  let requests: AuthRequests;
  let elsewhere: AuthRequests;

  const through = async (settings: object) => {
    dataSource = await quietDataSource({ url: proxy.url, connectTimeoutMs: 600, ...settings });
    requests = new AuthRequests(dataSource);
  };
  beforeEach(async () => {
    proxy = await Proxy.start(database.url);
    elsewhere = new AuthRequests(await database.dataSource());
  });
  afterEach(async () => {
    proxy.swallow = 'nothing';
    proxy.intercept = undefined;
    await dataSource.destroy();
    await proxy.close();
  });

  it.each(['requests', 'answers'] as const)(
    '(%s) ends a wait soon after its time is up, with a retryable error, and no other',
    async (what) => {
      // An answer that is lost is found to be so after 35 s: far more than what a wait has.
      await through({});
      const refs = await refsOf(elsewhere, 20);
      const patient = requests.waitForResult(refs[0]!, LONG);
      await delay(50);
      proxy.swallow = what;
      let cut = 0;
      (dataSource.driver as unknown as { master: Pool }).master.on('remove', () => cut++);
      const waiting = refs.map((ref) => failureOf(requests.waitForResult(ref, { timeoutMs: 200 })));
      const failures = await within(LIMIT_MS, 'the waits', Promise.all(waiting));
      expect(failures.filter((failure) => !(failure instanceof DatabaseUnavailableError))).toEqual([]);
      // Before the look is given up that everybody waits for, after 5 s.
      expect(cut).toBe(0);
      proxy.swallow = 'nothing';
      await elsewhere.expire({ ...refs[0]!, reason: '' });
      expect(await within(LIMIT_MS, 'the wait', patient)).toMatchObject({ status: 'EXPIRED' });
    },
  );

  it('one connection alone keeps nobody waiting who has time', async () => {
    await through({});
    const [ref] = await refsOf(elsewhere, 1);
    const waiting = requests.waitForResult(ref!, LONG);
    let swallowed = 0;
    // The first look that it is asked for from now on; all that is asked on other connections gets through.
    proxy.intercept = (direction, data) => {
      const isFirst = direction === 'requests' && data.includes('look_for_results') && swallowed++ === 0;
      return isFirst ? { pass: Buffer.alloc(0), end: false } : undefined;
    };
    await delay(200);
    await elsewhere.expire({ ...ref!, reason: '' });
    expect(await within(LIMIT_MS - 10_000, 'the wait', waiting)).toMatchObject({ status: 'EXPIRED' });
    expect(swallowed).toBeGreaterThan(1);
  });

  it('and comes back again and again loses no result', async () => {
    await through({ answerTimeoutMs: 300, poolSize: 2 });
    const refs = await refsOf(elsewhere, 30);
    const waiting = Promise.all(refs.map((ref) => requests.waitForResult(ref, LONG)));
    for (const ref of refs) {
      proxy.swallow = (['requests', 'answers', 'nothing'] as const)[Math.floor(Math.random() * 3)]!;
      if (Math.random() < 0.3) proxy.cut();
      await elsewhere.expire({ ...ref, reason: '' });
      await delay(Math.random() * 60);
    }
    proxy.swallow = 'nothing';
    const statuses = (await within(LIMIT_MS, 'the waits', waiting)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set(['EXPIRED']));
  });
});

describe('a process that closes its DataSource while it waits', () => {
  const FIXTURE = compiled('test/fixtures/waiting-process.fixture.ts');

  it('is told so for each wait, and ends', async () => {
    const refs = await refsOf(new AuthRequests(await database.dataSource()), 50);
    const ids = refs.map(({ authRequestId }) => authRequestId);
    const args = [FIXTURE, database.url, RESTAURANT, ...ids];
    const child: ChildProcessByStdio<Writable, Readable, null> = spawn(process.execPath, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const [exited, output] = [once(child, 'exit'), text(child.stdout)];
      await within(LIMIT_MS, 'the waits', once(child.stdout, 'readable'));
      child.stdin.write('close');
      expect(await within(LIMIT_MS, 'the process', exited)).toEqual([0, null]);
      expect(await output).toBe(`waiting\n${JSON.stringify(ids.map(() => 'DataSourceNotOpenError'))}\n`);
    } finally {
      child.kill('SIGKILL');
    }
  });
});

describe('memory', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const inUse = async () => {
    await delay(100);
    collectGarbage();
    await delay(10);
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };

  it('is flat over 100,000 waits, however they end', async () => {
    const requests = new AuthRequests(await database.dataSource());
    const [open, settled] = await refsOf(requests, 2);
    await requests.expire({ ...settled!, reason: '' });
    const shutdown = new AbortController();
    const ends = [
      () => requests.waitForResult(settled!, { ...LONG, signal: shutdown.signal }),
      () => requests.waitForResult(open!, { timeoutMs: 20, signal: shutdown.signal }),
      () => requests.waitForResult({ ...open!, authRequestId: uuidv4() }).catch(() => undefined),
      () => {
        const gone = new AbortController();
        const waiting = requests.waitForResult(open!, { ...LONG, signal: gone.signal }).catch(() => undefined);
        setImmediate(() => gone.abort());
        return waiting;
      },
    ];
    const some = () => atOnce(2_000, (index) => ends[index % ends.length]!());
    for (let round = 0; round < 5; round++) await some();
    const before = await inUse();
    for (let round = 0; round < 50; round++) await some();
    // A Set that is kept for each would be 20 MB.
    expect((await inUse()) - before).toBeLessThan(3_000_000);
  });
});
