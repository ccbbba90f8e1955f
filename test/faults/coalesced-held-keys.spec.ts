import { setTimeout as delay } from 'node:timers/promises';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type AuthorizeCommand, type AuthorizeReceipt } from '../../src/auth-requests/authorize';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { within } from '../support/processes/within';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { atOnce, comeToWait, crowdOf } from '../support/requests/races';

const ROUNDS = 200;
const LANES = 4;
const BURST = 20;
const LONGEST_HOLD_MS = 300;
const STATEMENTS = 3;
const SPARE = 3;

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let others: PaymentEventsDataSource;
let requests: AuthRequests;
beforeAll(async () => {
  // Far longer than a key is held on a busy machine.
  dataSource = await crowdOf(STATEMENTS + SPARE, database, { coalescedStatements: STATEMENTS, lockTimeoutMs: 60_000 });
  others = await crowdOf(2 * LANES, database);
  requests = new AuthRequests(dataSource);
});
afterAll(() => Promise.all([dataSource.destroy(), others.destroy()]));

const random = (below: number) => Math.floor(Math.random() * below);
const shuffled = <T>(items: readonly T[]): T[] => {
  const rest = [...items];
  return items.map(() => rest.splice(random(rest.length), 1)[0]!);
};

interface Held {
  readonly command: AuthorizeCommand;
  readonly authRequestId: string;
  readonly isCommitted: boolean;
  readonly end: () => Promise<void>;
}

/** Another client has authorized with a key, in a transaction that is still open. */
async function hold(command: AuthorizeCommand, isCommitted: boolean): Promise<Held> {
  const queryRunner = others.createQueryRunner();
  await queryRunner.startTransaction();
  const { authRequestId } = await new AuthRequests(others).authorize(command, queryRunner.manager);
  const end = async () => {
    await (isCommitted ? queryRunner.commitTransaction() : queryRunner.rollbackTransaction());
    await queryRunner.release();
  };
  return { command, authRequestId, isCommitted, end };
}

/** Some keys are held for a while by others; calls for them and for free keys come in any order. */
async function race(): Promise<void> {
  const held = await atOnce(1 + random(2), () => hold(anAuthorizeCommand(), random(2) === 0));
  const free = Array.from({ length: BURST }, () => anAuthorizeCommand());
  const calls = shuffled([...held, ...held].map(({ command }) => command).concat(free));
  const ends = held.map(async ({ end }) => {
    await delay(random(LONGEST_HOLD_MS));
    await end();
  });
  const receipts = new Map<AuthorizeCommand, AuthorizeReceipt[]>();
  const asking = calls.map(async (command) => {
    const receipt = await requests.authorize(command);
    receipts.set(command, [...(receipts.get(command) ?? []), receipt]);
  });
  await Promise.all([...ends, ...asking]);

  for (const command of free) expect(receipts.get(command)).toMatchObject([{ replayed: false }]);
  for (const { command, isCommitted, authRequestId } of held) {
    const told = receipts.get(command)!;
    expect(told.map(({ replayed }) => replayed)).toEqual([isCommitted, true]);
    expect(told.map((receipt) => receipt.authRequestId === authRequestId)).toEqual([isCommitted, isCommitted]);
    expect(told[1]!.authRequestId).toBe(told[0]!.authRequestId);
  }
}

describe('keys that other clients hold for a while', () => {
  it('make nobody fail, and their own callers are told how it ended', async () => {
    await atOnce(LANES, async () => {
      for (let round = 0; round < ROUNDS / LANES; round++) await within(60_000, 'a round', race());
    });
  });

  it('leave all places behind them: as many statements wait and travel as before', async () => {
    for (let round = 0; round < 2; round++) {
      const held = await atOnce(STATEMENTS + SPARE, () => hold(anAuthorizeCommand(), true));
      const waiting = held.map(({ command }) => requests.authorize(command));
      const allWait = await comeToWait(database, STATEMENTS + SPARE);
      for (const { end } of held) await end();
      expect(await Promise.all(waiting)).toEqual(
        held.map(({ authRequestId }) => ({ authRequestId, status: 'PENDING', lastEventSequence: 1, replayed: true })),
      );
      expect(allWait).toBe(true);
      const accepted = await atOnce(STATEMENTS + 64, () => requests.authorize(anAuthorizeCommand()));
      const sizes = await database.query<{ size: number }>(
        `SELECT count(*)::integer AS size FROM auth_request_state WHERE auth_request_id = ANY ($1)
         GROUP BY xmin::text ORDER BY size`,
        [accepted.map(({ authRequestId }) => authRequestId)],
      );
      expect(sizes.map(({ size }) => size)).toEqual([...Array<number>(STATEMENTS).fill(1), 64]);
    }
  });
});
