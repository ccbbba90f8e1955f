import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { AUTHORIZE } from '../../src/auth-requests/authorize';
import { IdempotencyKeyReuseError, OverloadedError } from '../../src/errors';
import { useTestDatabase } from '../support/database/use-test-database';
import { quietDataSource } from '../support/database/quiet-data-source';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, comeToWait, outcomeOf } from '../support/requests/races';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase();
const opened: { destroy(): Promise<void> }[] = [];
afterAll(() => Promise.all(opened.map((each) => each.destroy())));

async function requestsOf(settings: { coalescedStatements?: number; poolSize?: number; lockTimeoutMs?: number } = {}) {
  const dataSource = await quietDataSource({ url: database.url, ...settings });
  opened.push(dataSource);
  return new AuthRequests(dataSource);
}

let requests: AuthRequests;
beforeAll(async () => {
  requests = await requestsOf();
});

/** How many requests each statement has written, the largest first: what one has written has one xmin. */
async function statementsOf(requests: readonly { authRequestId: string }[]): Promise<number[]> {
  const rows = await database.query<{ size: number }>(
    `SELECT count(*)::int AS size FROM payment_events WHERE aggregate_id = ANY ($1) GROUP BY xmin::text ORDER BY size DESC`,
    [requests.map(({ authRequestId }) => authRequestId)],
  );
  return rows.map(({ size }) => size);
}

/** Holds keys, as a client does that has written them and has not committed. */
async function holdKeys(...keys: string[]): Promise<() => Promise<unknown>> {
  const client = await database.connect();
  await client.query('BEGIN');
  await client.query(
    `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, operation)
     SELECT key, $2, gen_random_uuid(), 'authorize' FROM unnest($1::text[]) AS key`,
    [keys, RESTAURANT],
  );
  return () => client.query('ROLLBACK');
}

describe('calls that would wait', () => {
  it('travel in one statement once one of those in flight ends', async () => {
    const accepted = await atOnce(68, () => requests.authorize(anAuthorizeCommand()));
    expect(await statementsOf(accepted)).toEqual([64, 1, 1, 1, 1]);
  });

  it('go at once and alone as long as fewer are in flight', async () => {
    expect(await statementsOf(await atOnce(4, () => requests.authorize(anAuthorizeCommand())))).toEqual([1, 1, 1, 1]);
    expect(await statementsOf([await requests.authorize(anAuthorizeCommand())])).toEqual([1]);
  });

  it('are at most 128 a statement', async () => {
    const accepted = await atOnce(300, () => requests.authorize(anAuthorizeCommand()));
    const [largest] = await statementsOf(accepted);
    expect(largest).toBe(128);
  });

  it('are at most as many as fit into 4 MiB', async () => {
    const metadata = { note: 'x'.repeat(600_000) };
    const accepted = await atOnce(16, () => requests.authorize(anAuthorizeCommand({ metadata })));
    expect((await statementsOf(accepted))[0]).toBe(3);
  });

  it('have each its own statement where it is switched off, and in a transaction of the caller', async () => {
    const off = await requestsOf({ coalescedStatements: 0 });
    const alone = await atOnce(30, () => off.authorize(anAuthorizeCommand()));
    expect(await statementsOf(alone)).toEqual(Array(30).fill(1));
    const dataSource = await database.dataSource();
    const mine = new AuthRequests(dataSource);
    const command = anAuthorizeCommand();
    await failureOf(
      dataSource.transaction(async (manager) => {
        await mine.authorize(command, manager);
        throw new Error('rolled back with the rest');
      }),
    );
    expect(await mine.authorize(command)).toMatchObject({ replayed: false });
  });

  it('have no more statements in flight than there are connections', async () => {
    const few = await requestsOf({ coalescedStatements: 8, poolSize: 2 });
    const accepted = await atOnce(66, () => few.authorize(anAuthorizeCommand()));
    expect(await statementsOf(accepted)).toEqual([64, 1, 1]);
  });

  it('are refused beyond 10,000, by an error that says so, and all others are answered', async () => {
    const client = await database.connect();
    await client.query('BEGIN; LOCK TABLE payment_events');
    const patient = await requestsOf({ lockTimeoutMs: 60_000 });
    const waiting = Array.from({ length: 10_000 }, () => patient.authorize(anAuthorizeCommand()));
    const refused = await failureOf(patient.authorize(anAuthorizeCommand()));
    await client.query('ROLLBACK');
    expect(refused).toBeInstanceOf(OverloadedError);
    expect(refused).toMatchObject({ code: 'OVERLOADED', retryable: true });
    expect(new Set((await Promise.all(waiting)).map(({ authRequestId }) => authRequestId)).size).toBe(10_000);
    expect(await patient.authorize(anAuthorizeCommand())).toMatchObject({ replayed: false });
  });
});

describe('a call that finds no place', () => {
  it('is told within the time that it would wait for a connection, while a table is locked, and nothing of it is there', async () => {
    const client = await database.connect();
    await client.query('BEGIN; LOCK TABLE payment_events');
    const settings = { url: database.url, poolSize: 4, connectTimeoutMs: 500, lockTimeoutMs: 1_500 };
    const dataSource = await quietDataSource(settings);
    opened.push(dataSource);
    const impatient = new AuthRequests(dataSource);
    const commands = Array.from({ length: 200 }, () => anAuthorizeCommand());
    const outcomes = await Promise.all([...commands, ...commands].map((each) => outcomeOf(impatient.authorize(each))));
    await client.query('ROLLBACK');
    const count = (name: string) => outcomes.filter((outcome) => outcome === name).length;
    // Those that were in flight have waited for the lock.
    expect(count('OverloadedError')).toBeGreaterThan(380);
    expect(count('OverloadedError') + count('DatabaseTimeoutError')).toBe(400);
    const again = await Promise.all(commands.map((each) => impatient.authorize(each)));
    expect(again.every(({ replayed }) => !replayed)).toBe(true);
  });
});

describe('whatever a call travels with, it is answered as if it had gone alone', () => {
  it('64 calls of one key: one is new, the others are replays of it', async () => {
    const command = anAuthorizeCommand();
    const receipts = await atOnce(64, () => requests.authorize(command));
    expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(new Set(receipts.map(({ authRequestId }) => authRequestId)).size).toBe(1);
    expect(await statementsOf(receipts)).toEqual([1]);
  });

  it('another body under a key is refused, and nobody else is', async () => {
    const commands = Array.from({ length: 40 }, () => anAuthorizeCommand());
    const others = commands.map((command) => ({ ...command, amountCents: 7 }));
    const outcomes = await Promise.all(
      [...commands, ...others].map((command) => outcomeOf(requests.authorize(command))),
    );
    expect(outcomes.slice(0, 40)).toEqual(Array(40).fill(expect.objectContaining({ replayed: false })));
    expect(outcomes.slice(40)).toEqual(Array(40).fill('IdempotencyKeyReuseError'));
  });

  it('used, expired and new keys and those of another restaurant, in one statement', async () => {
    const [used, expired, reused] = [anAuthorizeCommand(), anAuthorizeCommand(), anAuthorizeCommand()] as const;
    const before = await Promise.all([used, expired, reused].map((command) => requests.authorize(command)));
    await database.query(
      `UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 second'
       WHERE idempotency_key = $1`,
      [expired.idempotencyKey],
    );
    const elsewhere = { ...used, restaurantId: uuidv4() };
    const fillers = atOnce(4, () => requests.authorize(anAuthorizeCommand()));
    const [replay, renewed, refused, other, fresh] = await Promise.all([
      requests.authorize(used),
      requests.authorize(expired),
      failureOf(requests.authorize({ ...reused, currency: 'EUR' })),
      requests.authorize(elsewhere),
      requests.authorize(anAuthorizeCommand()),
    ]);
    await fillers;
    expect(replay).toEqual({ ...before[0], replayed: true });
    expect(renewed).toMatchObject({ status: 'PENDING', replayed: false });
    expect(refused).toEqual(new IdempotencyKeyReuseError(before[2]!.authRequestId));
    expect(other).toMatchObject({ status: 'PENDING', replayed: false });
    expect(await statementsOf([renewed, other, fresh])).toEqual([3]);
  });

  it('a replay says where the request stands by then', async () => {
    const command = anAuthorizeCommand();
    const { authRequestId } = await requests.authorize(command);
    await requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: 'nobody waits' });
    const receipts = await atOnce(20, () => requests.authorize(command));
    expect(receipts).toEqual(
      Array(20).fill({ authRequestId, status: 'EXPIRED', lastEventSequence: 2, replayed: true }),
    );
  });

  it('a row that the database refuses is refused alone, at each place of a statement', async () => {
    await database.query(
      `ALTER TABLE auth_request_state ADD CONSTRAINT no_poison CHECK (payment_token <> 'poison') NOT VALID`,
    );
    const one = await requestsOf({ coalescedStatements: 1 });
    for (let place = 0; place < 9; place++) {
      const first = one.authorize(anAuthorizeCommand());
      const outcomes = await atOnce(9, (index) =>
        outcomeOf(one.authorize(anAuthorizeCommand(index === place ? { paymentToken: 'poison' } : {}))),
      );
      await first;
      const expected = outcomes.map((_, index) =>
        index === place ? 'ConstraintViolationError' : (expect.objectContaining({ replayed: false }) as object),
      );
      expect(outcomes).toEqual(expected);
    }
    await database.query('ALTER TABLE auth_request_state DROP CONSTRAINT no_poison');
  });

  it('what is refused before it is sent is refused alone', async () => {
    const outcomes = await atOnce(20, (index) =>
      outcomeOf(requests.authorize(anAuthorizeCommand({ amountCents: index === 10 ? 0 : 5 }))),
    );
    expect(outcomes.filter((outcome) => outcome === 'InvalidCommandError')).toHaveLength(1);
    expect(outcomes.filter((outcome) => typeof outcome === 'object')).toHaveLength(19);
  });
});

describe('a key that somebody else holds', () => {
  it('makes its own caller wait, and nobody else', async () => {
    const held = anAuthorizeCommand();
    const release = await holdKeys(held.idempotencyKey);
    const fillers = atOnce(4, () => requests.authorize(anAuthorizeCommand()));
    let answered = false;
    const mine = requests.authorize(held).finally(() => (answered = true));
    const others = await atOnce(30, () => requests.authorize(anAuthorizeCommand()));
    expect(others).toEqual(Array(30).fill(expect.objectContaining({ replayed: false })));
    expect(answered).toBe(false);
    await release();
    expect(await mine).toMatchObject({ replayed: false });
    await fillers;
  });

  it('times out by the limit of the session, and not by that of the statement', async () => {
    const impatient = await requestsOf({ lockTimeoutMs: 400, coalescedStatements: 1 });
    const held = anAuthorizeCommand();
    const release = await holdKeys(held.idempotencyKey);
    const first = impatient.authorize(anAuthorizeCommand());
    const since = performance.now();
    expect(await failureOf(impatient.authorize(held))).toMatchObject({ name: 'DatabaseTimeoutError', retryable: true });
    expect(performance.now() - since).toBeGreaterThan(400);
    await first;
    await release();
  });

  it('takes no place from the others for long, whether it came alone or in company', async () => {
    const one = await requestsOf({ coalescedStatements: 1, poolSize: 4 });
    const held = Array.from({ length: 3 }, () => anAuthorizeCommand());
    const release = await holdKeys(...held.map(({ idempotencyKey }) => idempotencyKey));
    const mine = held.map((command) => one.authorize(command));
    const others = await atOnce(50, () => one.authorize(anAuthorizeCommand()));
    expect(others).toEqual(Array(50).fill(expect.objectContaining({ replayed: false })));
    expect(await comeToWait(database, 3)).toBe(true);
    await release();
    expect(await Promise.all(mine)).toEqual(Array(3).fill(expect.objectContaining({ replayed: false })));
    // All places are there again.
    const accepted = await atOnce(65, () => one.authorize(anAuthorizeCommand()));
    expect(await statementsOf(accepted)).toEqual([64, 1]);
  });

  it.each([
    ['0', '50ms'],
    ['5s', '50ms'],
    ['51ms', '50ms'],
    ['1d', '50ms'],
    ['20ms', '20ms'],
    ['1ms', '1ms'],
  ])('holds a statement for many up for 50 ms at most: %s becomes %s', async (session, statement) => {
    const client = await database.connect();
    await client.query(`SET lock_timeout = '${session}'`);
    const [bound] = AUTHORIZE.many.text.split('), input');
    const { rows } = await client.query(
      `${bound}) SELECT set_config, current_setting('lock_timeout') AS after FROM bound`,
    );
    expect(rows).toEqual([{ set_config: statement, after: statement }]);
    expect((await client.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: session }]);
    await client.end();
  });
});
