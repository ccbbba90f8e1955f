import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, comeToWait, crowdOf, outcomeOf } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const CROWD = 64;
const ROUNDS = 25;

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let coalesced: PaymentEventsDataSource;

beforeAll(async () => {
  crowd = await crowdOf(CROWD + 1, database, { coalescedStatements: 0 });
  requests = new AuthRequests(crowd);
  coalesced = await crowdOf(4, database);
});
afterAll(() => Promise.all([crowd.destroy(), coalesced.destroy()]));

/** A restaurant of its own, so that all it has is what the race left. */
const aRaceCommand = () => anAuthorizeCommand({ restaurantId: uuidv4() });

/** Requires that a restaurant has these requests and nothing else, each with its row, event and message, and one key. */
async function requireOnly(restaurantId: string, ...authRequestIds: string[]): Promise<void> {
  const left = await database.query<{ id: string }>(
    `SELECT auth_request_id AS id FROM auth_request_state WHERE restaurant_id = $1
     UNION SELECT aggregate_id FROM payment_events WHERE restaurant_id = $1
     UNION SELECT aggregate_id FROM outbox WHERE restaurant_id = $1`,
    [restaurantId],
  );
  expect(left.map(({ id }) => id).sort()).toEqual([...authRequestIds].sort());
  for (const record of await requireSound(database, authRequestIds)) {
    expect(record.events.map(({ type }) => type)).toEqual(['AuthRequestCreated']);
  }
  expect(
    await database.query(
      `SELECT auth_request_id, operation, expires_at > now() AS live FROM auth_idempotency_keys WHERE restaurant_id = $1`,
      [restaurantId],
    ),
  ).toEqual([{ auth_request_id: authRequestIds.at(-1), operation: 'authorize', live: true }]);
}

/** What a day does, without the waiting. */
const lapseKeys = (restaurantId: string) =>
  database.query(
    `UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'
     WHERE restaurant_id = $1`,
    [restaurantId],
  );

/** Together, all but the first wait in the process. */
const WAYS = [
  ['each by a statement of its own', CROWD, () => requests],
  ['of one process, which has them travel together', 1, () => new AuthRequests(coalesced)],
] as const;

describe.each(WAYS)(`${CROWD} at once that authorize with one key, %s`, (_way, waiting, requestsOf) => {
  let requests: AuthRequests;
  beforeAll(() => {
    requests = requestsOf();
  });

  it('make one request, and are all told of it', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const command = aRaceCommand();
      const receipts = await atOnce(CROWD, () => requests.authorize(command));
      const { authRequestId } = receipts[0]!;
      expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(1);
      for (const receipt of receipts) {
        expect(receipt).toEqual({ authRequestId, status: 'PENDING', lastEventSequence: 1, replayed: receipt.replayed });
      }
      await requireOnly(command.restaurantId, authRequestId);
    }
  });

  it.each(['rolled back', 'committed'])(
    'make one request when the first of them is %s while all wait',
    async (ending) => {
      for (let round = 0; round < ROUNDS; round++) {
        const command = aRaceCommand();
        const queryRunner = crowd.createQueryRunner();
        await queryRunner.startTransaction();
        const first = await requests.authorize(command, queryRunner.manager);
        const others = atOnce(CROWD, () => requests.authorize(command));
        const allWaited = await comeToWait(database, waiting);
        await (ending === 'committed' ? queryRunner.commitTransaction() : queryRunner.rollbackTransaction());
        await queryRunner.release();
        const receipts = await others;
        expect(allWaited).toBe(true);
        const [{ authRequestId } = first] = receipts;
        expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(ending === 'committed' ? 0 : 1);
        expect(receipts.every((receipt) => receipt.authRequestId === authRequestId)).toBe(true);
        expect(authRequestId === first.authRequestId).toBe(ending === 'committed');
        await requireOnly(command.restaurantId, authRequestId);
      }
    },
  );

  it('for two different requests make one of the two, and the other half is told that the key is used', async () => {
    const winners = new Set<number>();
    for (let round = 0; round < ROUNDS; round++) {
      const command = aRaceCommand();
      const outcomes = await atOnce(CROWD, (index) =>
        outcomeOf(requests.authorize({ ...command, amountCents: 100 + ((index + round) % 2) })),
      );
      const receipts = outcomes.filter((outcome) => typeof outcome !== 'string');
      expect(outcomes.filter((outcome) => outcome === 'IdempotencyKeyReuseError')).toHaveLength(CROWD / 2);
      expect(receipts).toHaveLength(CROWD / 2);
      expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(1);
      const { authRequestId } = receipts[0]!;
      await requireOnly(command.restaurantId, authRequestId);
      const request = await requests.get({ restaurantId: command.restaurantId, authRequestId });
      winners.add(request!.amountCents);
      const won = outcomes.findIndex((outcome) => typeof outcome !== 'string');
      expect(request?.amountCents).toBe(100 + ((won + round) % 2));
    }
    expect(winners.size).toBe(2);
  });

  it('take an expired one over once, and make one new request', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const command = aRaceCommand();
      const { authRequestId: old } = await requests.authorize(command);
      await lapseKeys(command.restaurantId);
      const receipts = await atOnce(CROWD, () => requests.authorize({ ...command, amountCents: 77 }));
      const { authRequestId } = receipts[0]!;
      expect(authRequestId).not.toBe(old);
      expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(receipts.every((receipt) => receipt.authRequestId === authRequestId)).toBe(true);
      await requireOnly(command.restaurantId, old, authRequestId);
    }
  });
});

describe(`${CROWD} at once that void one request`, () => {
  const aVoid = (authRequestId: string, idempotencyKey: string = uuidv4()) => ({
    restaurantId: RESTAURANT,
    authRequestId,
    idempotencyKey,
    reason: 'customer left',
  });
  /** PENDING, PROCESSING and AUTHORIZED in turn, with what voiding it comes to. */
  async function aVoidable(round: number) {
    const request = await aRequest(crowd, { started: round % 3 > 0 });
    if (round % 3 === 2) await requests.recordAuthorized(request.lease, anAuthorization());
    return { ...request, outcome: (['not_required', 'pending', 'queued'] as const)[round % 3]! };
  }
  async function requireOneVoid(authRequestId: string, outcome: string, keys: string[]): Promise<void> {
    const [record] = await requireSound(database, [authRequestId]);
    expect(record?.status).toBe('VOIDED');
    expect(record?.events.filter(({ type }) => type === 'AuthVoidRequested')).toHaveLength(1);
    expect(record?.voidReasons).toEqual(outcome === 'queued' ? ['customer left'] : []);
    expect(
      await database.query(
        `SELECT auth_request_id, operation, outcome FROM auth_idempotency_keys WHERE idempotency_key = ANY ($1)`,
        [keys],
      ),
    ).toEqual([{ auth_request_id: authRequestId, operation: 'void', outcome }]);
  }

  it('with one key void it once, and are all told the same', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { authRequestId, outcome } = await aVoidable(round);
      const command = aVoid(authRequestId);
      const receipts = await atOnce(CROWD, () => requests.requestVoid(command));
      expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(1);
      const { lastEventSequence } = receipts[0]!;
      for (const { replayed, ...receipt } of receipts) {
        const same = { authRequestId, status: 'VOIDED', lastEventSequence, outcome };
        expect({ receipt, replayed }).toEqual({ receipt: same, replayed });
      }
      await requireOneVoid(authRequestId, outcome, [command.idempotencyKey]);
    }
  });

  it('with a key each void it once; the others are refused and their keys are not used up', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { authRequestId, outcome } = await aVoidable(round);
      const commands = Array.from({ length: CROWD }, () => aVoid(authRequestId));
      const outcomes = await atOnce(CROWD, (index) => outcomeOf(requests.requestVoid(commands[index]!)));
      expect(outcomes.filter((refusal) => refusal === 'NotVoidableError')).toHaveLength(CROWD - 1);
      const voided = { authRequestId, status: 'VOIDED', lastEventSequence: expect.any(Number) as number, outcome };
      expect(outcomes).toContainEqual({ ...voided, replayed: false });
      await requireOneVoid(
        authRequestId,
        outcome,
        commands.map(({ idempotencyKey }) => idempotencyKey),
      );
    }
  });

  it('with one key for as many requests void one of them', async () => {
    for (let round = 0; round < 10; round++) {
      const made = await atOnce(CROWD, () => requests.authorize(anAuthorizeCommand()));
      const idempotencyKey = uuidv4();
      const outcomes = await atOnce(CROWD, (index) =>
        outcomeOf(requests.requestVoid(aVoid(made[index]!.authRequestId, idempotencyKey))),
      );
      expect(outcomes.filter((refusal) => refusal === 'IdempotencyKeyReuseError')).toHaveLength(CROWD - 1);
      const ids = made.map(({ authRequestId }) => authRequestId);
      const voided = (await requireSound(database, ids)).filter(({ status }) => status === 'VOIDED');
      expect(voided).toHaveLength(1);
      await requireOneVoid(voided[0]!.authRequestId, 'not_required', [idempotencyKey]);
    }
  });
});
