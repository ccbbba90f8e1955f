import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type AuthorizeCommand, type AuthorizeReceipt } from '../../src/auth-requests/authorize';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError, IdempotencyKeyReuseError } from '../../src/errors';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { crowdOf } from '../support/requests/races';
import { together } from '../support/requests/together';

/**
 * One byte in so many, beside each that begins or ends a message: what the client sends is for the most part the text of the
 * statements. `npm run test:full` takes more.
 */
const STEP = process.env.RUN_FULL ? { requests: 7, answers: 1 } : { requests: 97, answers: 4 };

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let proxy: Proxy;
let cutOff: PaymentEventsDataSource;
beforeAll(async () => {
  crowd = await crowdOf(2, database, { coalescedStatements: 0 });
  proxy = await Proxy.start(database.url);
  cutOff = await quietDataSource({ url: proxy.url, poolSize: 1, coalescedStatements: 1, connectTimeoutMs: 20_000 });
});
afterAll(async () => {
  await cutOff.destroy();
  await proxy.close();
  await crowd.destroy();
});

type Direction = 'requests' | 'answers';

/**
 * Passes the first bytes of one direction of what a statement for many exchanges with the server, and ends the connection
 * there. Everything before that statement passes.
 *
 * @returns what has passed by now, of each direction
 */
function cutAfter(bytes: number, direction: Direction): Record<Direction, Buffer> {
  const passed = { requests: Buffer.alloc(0), answers: Buffer.alloc(0) };
  let isUnderWay = false;
  proxy.intercept = (what, data) => {
    isUnderWay ||= what === 'requests' && data.includes('authorize_many');
    if (!isUnderWay) return undefined;
    const left = what === direction ? bytes - passed[what].length : Infinity;
    const pass = data.subarray(0, Math.min(left, data.length));
    passed[what] = Buffer.concat([passed[what], pass]);
    const end = left < data.length;
    // What is sent on the next connection passes.
    if (end) proxy.intercept = undefined;
    return { pass, end };
  };
  return passed;
}

/** Where messages begin (PostgreSQL manual, "Message Formats": a letter, and a length that counts itself). */
function beginningsOf(exchanged: Buffer): number[] {
  const beginnings = [];
  for (let at = 0; at < exchanged.length; at += 1 + exchanged.readInt32BE(at + 1)) beginnings.push(at);
  return beginnings;
}

interface Burst {
  readonly commands: readonly AuthorizeCommand[];
  /** Whose key was used before, and for what. */
  readonly used: AuthorizeReceipt;
}

/** Two new keys, a repeat, another body under its key, and a second call of the first key: the last two wait behind. */
async function aBurst(): Promise<Burst> {
  const [a, b, old] = [anAuthorizeCommand(), anAuthorizeCommand(), anAuthorizeCommand()];
  const used = await new AuthRequests(crowd).authorize(old);
  return { commands: [a, b, old, { ...old, amountCents: 7 }, a], used };
}

/** Sends the burst; the connection is cut on its way, or not at all. */
async function send({ commands }: Burst): Promise<PromiseSettledResult<AuthorizeReceipt>[]> {
  const requests = new AuthRequests(cutOff);
  const outcomes = await together(requests, () =>
    Promise.allSettled(commands.map((command) => requests.authorize(command))),
  );
  proxy.intercept = undefined;
  return outcomes;
}

/** Whatever the callers were told is true, and a repeat of each is answered as if nothing had happened. */
async function requireTold({ commands, used }: Burst, outcomes: PromiseSettledResult<AuthorizeReceipt>[]) {
  const repeats = await Promise.allSettled(commands.map((command) => new AuthRequests(crowd).authorize(command)));
  const reuse = { status: 'rejected', reason: new IdempotencyKeyReuseError(used.authRequestId) };
  expect(repeats[2]).toEqual({ status: 'fulfilled', value: { ...used, replayed: true } });
  expect(repeats[3]).toEqual(reuse);
  expect(repeats[4]).toMatchObject({ value: { authRequestId: valueOf(repeats[0]!)!.authRequestId } });
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') {
      if (index === 3 && outcome.reason instanceof IdempotencyKeyReuseError) expect(outcome).toEqual(reuse);
      else expect(outcome.reason).toBeInstanceOf(DatabaseUnavailableError);
    } else {
      // It was committed before its caller was told.
      expect(repeats[index]).toMatchObject({
        value: { authRequestId: outcome.value.authRequestId, replayed: true },
      });
      // Nobody else has used its key: it was not sent twice.
      if (index < 2) expect(outcome.value.replayed).toBe(false);
    }
  }
}

const valueOf = (outcome: PromiseSettledResult<AuthorizeReceipt>) =>
  outcome.status === 'fulfilled' ? outcome.value : undefined;

describe('a connection that is cut while a statement for many is under way', () => {
  it.each(['requests', 'answers'] as const)(
    'costs its callers nothing but a repeat, at whichever byte of its %s',
    async (direction) => {
      const whole = cutAfter(Infinity, direction);
      const untouched = await aBurst();
      const outcomes = await send(untouched);
      expect(outcomes.map((outcome) => outcome.status === 'fulfilled' && outcome.value.replayed)).toEqual([
        ...[false, false, true, false, true],
      ]);
      const exchanged = whole[direction];
      const edges = beginningsOf(exchanged)
        .flatMap((at) => [at - 1, at, at + 1])
        .slice(1);
      // Statement, sync; then those that look at the keys.
      expect(edges.length).toBeGreaterThan(20);
      const places = new Set(
        [...edges, ...exchanged.keys()].filter((at) => edges.includes(at) || at % STEP[direction] === 0),
      );

      let told = 0;
      let untold = 0;
      for (const at of places) {
        const burst = await aBurst();
        cutAfter(at, direction);
        const outcomes = await send(burst);
        await requireTold(burst, outcomes);
        const [first] = outcomes;
        if (first!.status === 'fulfilled') told++;
        else untold++;
      }
      // Before it was committed, and after.
      expect(Math.min(told, untold)).toBeGreaterThan(10);
      await expectNothingHalfDone((sql, params) => database.query(sql, params), crowd);
    },
    process.env.RUN_FULL ? 3_600_000 : undefined,
  );
});
