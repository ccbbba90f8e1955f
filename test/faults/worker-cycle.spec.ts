import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';
import { type AskProcessor, type ProcessorAnswer } from '../../src/auth-requests/attempt';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError, LockHeldError, PaymentEventsDbError } from '../../src/errors';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, comeToWait, crowdOf, eventually, outcomeOf } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';
import { compiled } from '../support/jest/compiled';

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let holds: Holds;
let locks: ProcessingLocks;
beforeAll(async () => {
  crowd = await crowdOf(16, database);
  requests = new AuthRequests(crowd);
  holds = new Holds(crowd);
  locks = new ProcessingLocks(crowd);
});
afterAll(() => crowd.destroy());

const aCommand = async () => ({
  restaurantId: RESTAURANT,
  authRequestId: (await requests.authorize(anAuthorizeCommand())).authRequestId,
  ...{ configVersion: 'v1', ttlMs: 60_000 },
});
type Command = Awaited<ReturnType<typeof aCommand>>;

const yes: AskProcessor = ({ authRequestId }) =>
  Promise.resolve({ outcome: 'authorized', ...anAuthorization({ processorAuthId: `pi_${authRequestId}` }) });

const recordOf = async ({ authRequestId }: Command) => (await requireSound(database, [authRequestId]))[0]!;
const leasesOf = ({ authRequestId }: Command) =>
  database.query('SELECT FROM auth_processing_locks WHERE auth_request_id = $1', [authRequestId]);

describe('locks are taken in one order:', () => {
  it('an attempt that waits for its request has its lease already', async () => {
    const command = await aCommand();
    const holder = await database.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM auth_request_state WHERE auth_request_id = $1 FOR UPDATE', [command.authRequestId]);
    const attempt = requests.attempt(command, yes);
    expect(await comeToWait(database, 1)).toBe(true);
    // Somebody else who asks for the lease waits for the attempt, and is then told that it is held.
    const other = locks.acquire(command);
    expect(await comeToWait(database, 2)).toBe(true);
    await holder.query('ROLLBACK');
    expect(await attempt).toMatchObject({ status: 'AUTHORIZED' });
    await other.then((lease) => lease && locks.release(lease));
  });

  it('whatever meets at one request, in 300 rounds, never deadlocks, and leaves no lease', async () => {
    /** Of all sessions, which tell it when they come to it. */
    const deadlocks = async () => {
      await atOnce(16, () => crowd.query('SELECT pg_stat_force_next_flush(), pg_sleep(0.1)'));
      const query = 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()';
      return (await database.query<{ deadlocks: string }>(query))[0]!.deadlocks;
    };
    const before = await deadlocks();
    const answers: (() => ProcessorAnswer)[] = [
      () => ({ outcome: 'authorized', ...anAuthorization() }),
      () => ({ outcome: 'denied', processorName: 'stripe', denialCode: '05' }),
      () => ({ outcome: 'unknown', errorCode: 'E', errorMessage: '', retryable: true, nextRetryAt: new Date() }),
      () => ({ outcome: 'nothing_held', errorCode: 'E', errorMessage: '', retryable: false }),
    ];
    const anyAnswer = () => answers[Math.floor(Math.random() * answers.length)]!();
    const outcomes = new Set<string>();
    const ids: string[] = [];
    for (let round = 0; round < 300; round++) {
      const command = await aCommand();
      const { restaurantId, authRequestId } = command;
      const ref = { restaurantId, authRequestId };
      ids.push(authRequestId);
      const report = { ...ref, processorName: 'stripe', processorAuthId: 'pi_w', source: 'stripe', amountCents: 1 };
      const attempt = () => requests.attempt(command, () => Promise.resolve(anyAnswer()));
      const works: (() => Promise<unknown>)[] = [
        ...Array<() => Promise<unknown>>(6).fill(attempt),
        () => requests.requestVoid({ ...ref, reason: '', idempotencyKey: uuidv4() }),
        () => requests.expire({ ...ref, reason: '' }),
        () => holds.report({ ...report, told: 'authorized', sourceEventId: '1' }),
        () => requests.closeUnanswered({ ...ref, configVersion: 'v1', by: 'jo', reason: 'a test' }),
        () => holds.attemptVoid({ ...ref, ttlMs: 60_000 }, () => Promise.resolve({ outcome: 'voided' })),
      ];
      const told = await Promise.all(
        works.map(async (work) => {
          if (Math.random() < 0.5) await delay(Math.random() * 8);
          return await outcomeOf(work());
        }),
      );
      for (const outcome of told) if (typeof outcome === 'string') outcomes.add(outcome);
    }
    await requireSound(database, ids);
    const refusals = ['AuthRequestStatusError', 'HoldNotFoundError', 'LockHeldError', 'NotVoidableError'];
    // closeUnanswered gives up where the request has moved on since.
    expect([...outcomes].filter((each) => ![...refusals, 'TransactionConflictError'].includes(each))).toEqual([]);
    expect(await deadlocks()).toBe(before);
    expect(await database.query('SELECT FROM auth_processing_locks WHERE auth_request_id = ANY ($1)', [ids])).toEqual(
      [],
    );
  });
});

describe('over a network that fails', () => {
  let proxy: Proxy;
  let cutOff: PaymentEventsDataSource;
  let failing: AuthRequests;
  beforeAll(async () => {
    proxy = await Proxy.start(database.url);
    cutOff = await quietDataSource({ url: proxy.url, poolSize: 2, connectTimeoutMs: 1_000, answerTimeoutMs: 500 });
    failing = new AuthRequests(cutOff);
  });
  afterAll(async () => {
    await cutOff.destroy();
    await proxy.close();
  });
  beforeEach(() => cutOff.query('SELECT'));

  /** Where nobody listens. */
  async function urlOfNobody(): Promise<string> {
    const gone = await Proxy.start(database.url);
    const { url } = gone;
    await gone.close();
    return url;
  }

  it('a cycle whose first answer is swallowed begins one attempt, asks once and records', async () => {
    const command = await aCommand();
    proxy.swallow = 'answers';
    const ask = jest.fn(yes);
    const working = failing.attempt(command, ask);
    working.catch(() => undefined);
    expect(await eventually(async () => (await leasesOf(command)).length === 1)).toBe(true);
    proxy.swallow = 'nothing';
    expect(await working).toMatchObject({ status: 'AUTHORIZED' });
    expect(ask).toHaveBeenCalledTimes(1);
    expect((await recordOf(command)).events).toHaveLength(3);
    expect(await leasesOf(command)).toEqual([]);
  });

  it('a cycle whose last answer is swallowed records once, and is told what it came to', async () => {
    const command = await aCommand();
    const working = failing.attempt(command, async (attempt, signal) => {
      const answer = await yes(attempt, signal);
      proxy.swallow = 'answers';
      return answer;
    });
    working.catch(() => undefined);
    expect(await eventually(async () => (await recordOf(command)).status === 'AUTHORIZED')).toBe(true);
    proxy.swallow = 'nothing';
    expect(await working).toEqual({
      ...{ outcome: 'authorized', status: 'AUTHORIZED', lastEventSequence: 3, replayed: true, voidQueued: false },
    });
    expect((await recordOf(command)).events).toHaveLength(3);
    expect(await leasesOf(command)).toEqual([]);
  });

  it('an answer is kept while the server is away, for as long as the lease is held', async () => {
    const command = await aCommand();
    const nobody = await urlOfNobody();
    const working = failing.attempt(command, async (attempt, signal) => {
      const answer = await yes(attempt, signal);
      proxy.repoint(nobody);
      proxy.cut();
      return answer;
    });
    working.catch(() => undefined);
    await delay(1_500);
    expect(await recordOf(command)).toMatchObject({ status: 'PROCESSING' });
    proxy.repoint(database.url);
    expect(await working).toMatchObject({ status: 'AUTHORIZED' });
    expect(await leasesOf(command)).toEqual([]);
  });

  it('an answer is given up when the lease must have expired, and the attempt stays open', async () => {
    const command = { ...(await aCommand()), ttlMs: 900 };
    const nobody = await urlOfNobody();
    const working = failing.attempt(command, async (attempt, signal) => {
      proxy.repoint(nobody);
      proxy.cut();
      return await yes(attempt, signal);
    });
    await expect(working).rejects.toThrow(DatabaseUnavailableError);
    proxy.repoint(database.url);
    expect(await recordOf(command)).toMatchObject({ status: 'PROCESSING', attemptOpen: true });
    expect(await requests.attempt(command, yes)).toMatchObject({ status: 'AUTHORIZED' });
    const { events } = await recordOf(command);
    expect(events.filter(({ type }) => type === 'AuthAttemptStarted')).toHaveLength(2);
  });

  it('a cycle that is cut at any packet comes through, asks once and records once', async () => {
    const single = await quietDataSource({ url: proxy.url, poolSize: 1, connectTimeoutMs: 1_000 });
    let cuts = 0;
    for (const direction of ['requests', 'answers'] as const) {
      for (const arrives of [true, false]) {
        for (let packet = 1, isCut = true; isCut; packet++) {
          const command = await aCommand();
          await single.query('SELECT');
          let left = packet;
          proxy.intercept = (what, data) => {
            if (what !== direction || --left > 0) return undefined;
            proxy.intercept = undefined;
            return { pass: arrives ? data : Buffer.alloc(0), end: true };
          };
          const ask = jest.fn(yes);
          const told = await outcomeOf(new AuthRequests(single).attempt(command, ask));
          proxy.intercept = undefined;
          isCut = left <= 0;
          cuts += Number(isCut);
          // One cut is overcome: what was lost is asked for again.
          expect(told).toMatchObject({ outcome: 'authorized', status: 'AUTHORIZED' });
          expect(ask).toHaveBeenCalledTimes(1);
          expect((await recordOf(command)).events).toHaveLength(3);
          expect(await leasesOf(command)).toEqual([]);
        }
      }
    }
    await single.destroy();
    // Two statements, in both directions, that arrive or not.
    expect(cuts).toBeGreaterThanOrEqual(8);
  });
});

it('a process that is killed while it asks leaves its attempt open and its lease to expire; the next one settles it', async () => {
  const commands = await atOnce(3, aCommand);
  const script = compiled('test/fixtures/asking-worker.fixture.ts');
  const ids = commands.map(({ authRequestId }) => authRequestId);
  const child = spawn(process.execPath, [script, database.url, RESTAURANT, '2000', ...ids], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    const [said] = (await Promise.race([once(child.stdout, 'data'), exited])) as [unknown];
    expect(String(said)).toBe('asking\n');
    for (const command of commands) {
      await expect(requests.attempt(command, yes)).rejects.toThrow(LockHeldError);
    }
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
  for (const command of commands) {
    expect(await recordOf(command)).toMatchObject({ status: 'PROCESSING', attemptOpen: true });
    const isOver = async () => {
      const told = await requests.attempt(command, yes).catch((error: unknown) => {
        if (error instanceof PaymentEventsDbError && error.retryable) return undefined;
        throw error;
      });
      return told?.status === 'AUTHORIZED';
    };
    expect(await eventually(isOver)).toBe(true);
    expect(await recordOf(command)).toMatchObject({ status: 'AUTHORIZED', openVersions: [] });
    expect(await leasesOf(command)).toEqual([]);
  }
});
