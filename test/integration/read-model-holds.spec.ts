import { randomUUID } from 'node:crypto';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { type HoldDifference } from '../../src/read-model/hold-differences';
import { ReadModel } from '../../src/read-model/read-model';
import { type SharedHold } from '../../src/read-model/shared-holds';
import { type RequestDifference, type VerificationScope } from '../../src/read-model/verification';
import { useTestDatabase } from '../support/database/use-test-database';
import { cliHere } from '../support/processes/cli';
import { verifyCommand } from '../../src/cli/commands/verify';
import { rebuildCommand } from '../../src/cli/commands/rebuild';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;
let holds: Holds;
let readModel: ReadModel;
beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
  holds = new Holds(dataSource);
  readModel = new ReadModel(dataSource);
});

async function verify(scope?: VerificationScope): Promise<RequestDifference[]> {
  const found: RequestDifference[] = [];
  for await (const difference of readModel.verify(scope)) found.push(difference);
  return found;
}

async function shared(scope?: VerificationScope): Promise<SharedHold[]> {
  const found: SharedHold[] = [];
  for await (const hold of readModel.sharedHolds(scope)) found.push(hold);
  return found;
}

const differencesOf = async (authRequestId: string): Promise<HoldDifference[]> => {
  const [difference] = await verify({ authRequestId });
  if (!difference) return [];
  expect(difference).toMatchObject({ kind: 'holds_differ', differences: [] });
  return (difference as { holds: HoldDifference[] }).holds;
};

const rowOf = async (authRequestId: string) =>
  (await database.query(`SELECT * FROM auth_holds WHERE auth_request_id = $1`, [authRequestId]))[0]!;

/** A request that is AUTHORIZED by a hold. */
async function authorized() {
  const { authRequestId, lease } = await aRequest(dataSource, { started: true });
  const authorization = anAuthorization();
  await requests.recordAuthorized(lease, authorization);
  const { processorName, processorAuthId } = authorization;
  return { authRequestId, lease, processorName, processorAuthId, authorization };
}

/** Past the guard, as only somebody with the rights of the owner can. */
const damage = (change: string, authRequestId: string) =>
  database.query(
    `ALTER TABLE auth_holds DISABLE TRIGGER guard_auth_holds;
     UPDATE auth_holds SET ${change} WHERE auth_request_id = '${authRequestId}';
     ALTER TABLE auth_holds ENABLE ALWAYS TRIGGER guard_auth_holds`,
  );

const takeBack = (authRequestId: string) =>
  requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: 'r', idempotencyKey: randomUUID() });

test('what the operations make of a hold is what its events say', async () => {
  const ends = ['authorized', 'captured', 'voided', 'lapsed'] as const;
  const report = (
    hold: { authRequestId: string; processorAuthId: string },
    told: (typeof ends)[number],
    amountCents = 5,
  ) =>
    holds.report({
      ...{ authRequestId: hold.authRequestId, processorName: 'stripe', processorAuthId: hold.processorAuthId, told },
      ...{ source: 'stripe', sourceEventId: randomUUID(), amountCents },
    });
  // Each end beside each, before the void and after it.
  for (const first of ends) {
    for (const second of ends) {
      const hold = await authorized();
      await report(hold, first, 6);
      await takeBack(hold.authRequestId).catch(() => undefined);
      await report(hold, second);
    }
  }
  // Before its answer; of nobody; too late.
  const { authRequestId, lease } = await aRequest(dataSource, { started: true });
  const authorization = anAuthorization();
  const early = { authRequestId, processorAuthId: authorization.processorAuthId };
  await report(early, 'authorized');
  await report({ ...early, processorAuthId: randomUUID() }, 'captured');
  await report({ ...early, processorAuthId: randomUUID() }, 'authorized');
  await requests.recordAuthorized(lease, authorization);
  // Voided, with failures, by a worker and by a person.
  const { processorName, processorAuthId } = authorization;
  await takeBack(authRequestId);
  const failure = { processorName, processorAuthId, errorCode: 'E', errorMessage: '' };
  await holds.recordVoidFailure(lease, { ...failure, retryable: true });
  await holds.recordVoidFailure(lease, { ...failure, retryable: false });
  const named = { restaurantId: RESTAURANT, authRequestId, processorName, processorAuthId, by: 'ann', reason: 'r' };
  await holds.requeueVoid(named);
  await holds.recordVoided(lease, { processorName, processorAuthId });
  await holds.recordEnd({ ...named, end: 'captured', amountCents: 7 });
  expect(await verify()).toEqual([]);
});

describe('what verify tells of a hold', () => {
  test.each([
    ['state', `state = 'lapsed'`, 'lapsed', 'held'],
    ['isNeeded', 'is_needed = false', false, true],
    ['isAnswered', 'is_answered = false', false, true],
    ['amountCents', 'amount_cents = 9007199254740993', '9007199254740993', expect.any(Number)],
    ['currency', `currency = 'XXX'`, 'XXX', 'USD'],
    ['configVersion', `config_version = 'other'`, 'other', expect.anything()],
    ['endedAmountCents', 'ended_amount_cents = 3', 3, null],
    ['endedBy', `ended_by = 'bob'`, 'bob', null],
    ['closedBy', `closed_by = 'bob'`, 'bob', null],
    ['voidFailures', 'void_failures = 2', 2, 0],
    ['lastVoidError', `last_void_error = 'E'`, 'E', null],
    ['lastEventSequence', 'last_event_sequence = 1', 1, 3],
  ])('a wrong %s, which rebuild mends', async (field, change, inRow, byEvents: unknown) => {
    const { authRequestId, processorName, processorAuthId } = await authorized();
    await damage(change, authRequestId);
    const differences = [{ field, inRow, byEvents }];
    expect(await differencesOf(authRequestId)).toEqual([
      { processorName, processorAuthId, kind: 'differs', differences },
    ]);
    expect(await readModel.rebuild(authRequestId)).toMatchObject({ outcome: 'replaced', holds: [{ differences }] });
    expect(await verify({ authRequestId })).toEqual([]);
    expect(await readModel.rebuild(authRequestId)).toEqual({ authRequestId, outcome: 'unchanged', differences: [] });
  });

  test('not times, nor sweeps', async () => {
    const { authRequestId } = await authorized();
    await damage(
      `authorized_at = '2020-01-01Z', hold_expires_at = '2020-01-01Z', state_since = '2020-01-01Z', next_void_at = '2020-01-01Z',
       sweeps = 3, swept_at = '2020-01-01Z'`,
      authRequestId,
    );
    expect(await verify({ authRequestId })).toEqual([]);
  });

  test('one that is missing, and one too many', async () => {
    const { authRequestId, processorName, processorAuthId } = await authorized();
    await damage(`processor_auth_id = 'pi_nobody'`, authRequestId);
    expect(await differencesOf(authRequestId)).toMatchObject([
      { processorName, processorAuthId, kind: 'missing' },
      { processorName, processorAuthId: 'pi_nobody', kind: 'unexpected' },
    ]);
    const [missing, unexpected] = await differencesOf(authRequestId);
    expect(missing!.differences).toContainEqual({ field: 'state', inRow: null, byEvents: 'held' });
    expect(unexpected!.differences).toContainEqual({ field: 'state', inRow: 'held', byEvents: null });
    await readModel.rebuild(authRequestId);
    expect(await verify({ authRequestId })).toEqual([]);
    expect(await rowOf(authRequestId)).toMatchObject({ processor_auth_id: processorAuthId, is_needed: true });
  });

  test('beside the row of the request that is missing', async () => {
    const { authRequestId } = await authorized();
    await database.query('DELETE FROM auth_request_state WHERE auth_request_id = $1', [authRequestId]);
    await database.query('DELETE FROM auth_holds WHERE auth_request_id = $1', [authRequestId]);
    const [difference] = await verify({ authRequestId });
    expect(difference).toMatchObject({ kind: 'row_missing', holds: [{ kind: 'missing' }] });
    expect(await readModel.rebuild(authRequestId)).toMatchObject({ outcome: 'created', holds: [{ kind: 'missing' }] });
    expect(await verify({ authRequestId })).toEqual([]);
  });
});

test('a rebuild keeps what no event says: sweeps, and since when a state that stays', async () => {
  const { authRequestId } = await authorized();
  await takeBack(authRequestId);
  await damage(`sweeps = 3, swept_at = '2020-01-02Z', state_since = '2020-01-01Z', void_failures = 9`, authRequestId);
  const before = await rowOf(authRequestId);
  const [request] = await database.query('SELECT *, xmin FROM auth_request_state WHERE auth_request_id = $1', [
    authRequestId,
  ]);
  await readModel.rebuild(authRequestId);
  expect(await rowOf(authRequestId)).toEqual({ ...before, void_failures: 0 });
  expect(
    await database.query('SELECT *, xmin FROM auth_request_state WHERE auth_request_id = $1', [authRequestId]),
  ).toEqual([request]);
});

describe('a hold of which no event says what became of it', () => {
  /** As a client of the version before writes it: without a word of holds. */
  async function legacy(voidedToo: boolean) {
    const { authRequestId } = await authorized();
    if (voidedToo) await takeBack(authRequestId);
    await database.query('DELETE FROM auth_holds WHERE auth_request_id = $1', [authRequestId]);
    await database.query(
      `ALTER TABLE payment_events DISABLE TRIGGER payment_events_append_only;
       UPDATE payment_events SET metadata = metadata - '{hold_state,hold_needed,config_version,unneeded}'::text[]
       WHERE aggregate_id = '${authRequestId}';
       ALTER TABLE payment_events ENABLE ALWAYS TRIGGER payment_events_append_only`,
    );
    return authRequestId;
  }

  test('is missing where a client of the version before has written it, and rebuilt as held', async () => {
    const [needed, unneeded] = [await legacy(false), await legacy(true)];
    for (const id of [needed, unneeded]) {
      expect(await differencesOf(id)).toMatchObject([{ kind: 'missing' }]);
      await readModel.rebuild(id);
      expect(await verify({ authRequestId: id })).toEqual([]);
    }
    expect(await rowOf(needed)).toMatchObject({ state: 'held', is_needed: true });
    expect(await rowOf(unneeded)).toMatchObject({ state: 'held', is_needed: false });
  });

  test('may be voiding where nobody needs it, and stays so', async () => {
    const id = await legacy(true);
    await readModel.rebuild(id);
    await damage(`state = 'voiding'`, id);
    expect(await verify({ authRequestId: id })).toEqual([]);
    await damage(`amount_cents = 1`, id);
    const before = await rowOf(id);
    await readModel.rebuild(id);
    expect(await rowOf(id)).toMatchObject({ state: 'voiding', state_since: before.state_since });
  });

  test.each([`state = 'voided'`, `state = 'captured'`])('is nothing else: %s', async (change) => {
    const id = await legacy(true);
    await readModel.rebuild(id);
    await damage(change, id);
    expect(await differencesOf(id)).toMatchObject([
      { kind: 'differs', differences: [{ field: 'state', byEvents: 'held' }] },
    ]);
    await readModel.rebuild(id);
    expect(await rowOf(id)).toMatchObject({ state: 'held' });
  });
});

describe('an authorization that several requests have', () => {
  async function pair() {
    const first = await authorized();
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    await requests.recordAuthorized(lease, first.authorization);
    const ids = [first.authRequestId, authRequestId].sort();
    const holders = ids.map((id) => ({ authRequestId: id, restaurantId: RESTAURANT, state: 'held', isNeeded: true }));
    const { processorName, processorAuthId } = first;
    return { ids, lease, found: { processorName, processorAuthId, holds: holders } };
  }
  const of = (processorAuthId: string, found: SharedHold[]) =>
    found.filter((hold) => hold.processorAuthId === processorAuthId);

  test('is told once, with the requests and where each hold stands, and is no difference', async () => {
    const { ids, found } = await pair();
    expect(of(found.processorAuthId, await shared())).toEqual([found]);
    expect(await shared({ restaurantId: RESTAURANT, authRequestId: ids[0] })).toEqual([found]);
    expect(await shared({ authRequestId: ids[1] })).toEqual([found]);
    expect(await shared({ restaurantId: randomUUID() })).toEqual([]);
    expect(await shared({ authRequestId: (await authorized()).authRequestId })).toEqual([]);
    expect(await verify()).toEqual([]);
  });

  test('until no money is held under it', async () => {
    const { ids, found } = await pair();
    const { processorName, processorAuthId } = found;
    for (const authRequestId of ids) {
      expect(await shared({ authRequestId })).toHaveLength(1);
      await holds.report({
        ...{ authRequestId, processorName, processorAuthId, told: 'voided', source: 's', sourceEventId: randomUUID() },
      });
    }
    expect(await shared({ authRequestId: ids[0] })).toEqual([]);
  });

  test('is found among more holds than a page has', async () => {
    const { ids, found } = await pair();
    await database.query(
      `INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
         authorized_at, state, is_needed, is_answered, first_event_sequence, last_event_sequence)
       SELECT '${ids[0]}', '${RESTAURANT}', 'stripe', 'many ' || number, 1, 'USD', now(), 'held', false, true, 3, 3
       FROM generate_series(1, 2500) AS number`,
    );
    try {
      expect(of(found.processorAuthId, await shared())).toEqual([found]);
      expect(await shared({ authRequestId: ids[0] })).toEqual([found]);
    } finally {
      await database.query(`DELETE FROM auth_holds WHERE processor_auth_id LIKE 'many %'`);
    }
  });

  test('is printed after the differences, and exits with 0 where nothing differs', async () => {
    const { ids, found } = await pair();
    const args = ['--request', ids[0]!];
    const { stdout, exitCode } = await cliHere(database.url, verifyCommand(), args);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(
      `"${found.processorName}" "${found.processorAuthId}"  several requests have this authorization`,
    );
    for (const id of ids) expect(stdout).toContain(`  ${id}  held, needed\n`);
    expect(stdout).toContain('Compared 1 request: none differs.');
    const json = await cliHere(database.url, verifyCommand(), [...args, '--json']);
    expect(JSON.parse(json.stdout.split('\n')[0]!)).toEqual({ kind: 'hold_shared', ...found });
  });
});

test('verify and rebuild print each hold that differs, as text and as JSON', async () => {
  const { authRequestId, processorName, processorAuthId } = await authorized();
  await damage(`state = 'lapsed'`, authRequestId);
  const verified = await cliHere(database.url, verifyCommand(), ['--request', authRequestId]);
  expect(verified).toMatchObject({ exitCode: 1 });
  expect(verified.stdout).toContain(`${authRequestId}  a hold differs from its events\n`);
  expect(verified.stdout).toMatch(
    new RegExp(
      `  hold "${processorName}" "${processorAuthId}" differs from the events\n.*in the row +by its events\n +state +"lapsed" +"held"\n`,
    ),
  );
  const holdsOf = {
    processorName,
    processorAuthId,
    kind: 'differs',
    differences: [{ field: 'state', inRow: 'lapsed', byEvents: 'held' }],
  };
  const json = await cliHere(database.url, verifyCommand(), ['--request', authRequestId, '--json']);
  expect(JSON.parse(json.stdout.split('\n')[0]!)).toMatchObject({
    authRequestId,
    kind: 'holds_differ',
    holds: [holdsOf],
  });
  const planned = await cliHere(database.url, rebuildCommand(), [authRequestId, '--dry-run']);
  expect(planned.stdout).toMatch(
    /would be rebuilt\n {2}hold .* differs from the events\n.*before +by its events\n +state/,
  );
  const rebuilt = await cliHere(database.url, rebuildCommand(), [authRequestId, '--json']);
  expect(JSON.parse(rebuilt.stdout)).toEqual({ authRequestId, outcome: 'replaced', differences: [], holds: [holdsOf] });
});
