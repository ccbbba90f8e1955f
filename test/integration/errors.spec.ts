import { inspect } from 'node:util';
import { type DataSource, type EntityManager } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { execute } from '../../src/database/execute';
import { statement } from '../../src/database/statement';
import {
  ConstraintViolationError,
  DatabaseError,
  DatabaseTimeoutError,
  PaymentEventsDbError,
  TransactionConflictError,
} from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase();
let dataSource: DataSource;
let requests: AuthRequests;

beforeAll(async () => {
  dataSource = await quietDataSource({ url: database.url });
  requests = new AuthRequests(dataSource);
});
afterAll(() => dataSource.destroy());

/** Values that nobody may find in an error, each where one like it lives. */
const TOKEN = 'tok_5ecre7';
const KEY = 'key_5ecre7';
const METADATA = { note: 'meta_5ecre7' };
const REASON = 'reason_5ecre7';
const aSecretCommand = (changes = {}) =>
  anAuthorizeCommand({ paymentToken: TOKEN, idempotencyKey: `${KEY}_${uuidv4()}`, metadata: METADATA, ...changes });
const aSecretVoid = (authRequestId: string) => ({
  restaurantId: RESTAURANT,
  authRequestId,
  idempotencyKey: `${KEY}_${uuidv4()}`,
  reason: REASON,
});

function expectNoSecretIn(error: unknown): void {
  const shown: string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    shown.push(String(cause), cause.message, cause.stack ?? '', JSON.stringify(cause), inspect(cause));
    shown.push(inspect(cause, { depth: null, showHidden: true, getters: true }));
    shown.push(JSON.stringify(cause, Object.getOwnPropertyNames(cause)));
  }
  expect(shown.length).toBeGreaterThan(0);
  expect(shown.join('\n')).not.toMatch(/5ecre7/);
}

/** Expects an error of this class, with these properties, that keeps its secrets. */
async function expectFailure(
  operation: Promise<unknown>,
  Class: new (...args: never[]) => PaymentEventsDbError,
  properties: Record<string, unknown>,
): Promise<void> {
  const error = await failureOf(operation);
  expect(error).toBeInstanceOf(Class);
  expect(error).toMatchObject(properties);
  expectNoSecretIn(error);
}

/** A statement of whatever sort, by the way that the operations take. */
const sql = (text: string, values: unknown[], manager?: EntityManager) =>
  execute(dataSource, statement('test', text), values, manager);

describe('a refused row', () => {
  it('names the check, and not the row that the server quotes in DETAIL', async () => {
    await database.query(
      `ALTER TABLE auth_request_state ADD CONSTRAINT refuses_tokens CHECK (payment_token <> '${TOKEN}')`,
    );
    try {
      await expectFailure(requests.authorize(aSecretCommand()), ConstraintViolationError, {
        code: 'CONSTRAINT_VIOLATION',
        retryable: false,
        constraint: 'refuses_tokens',
        table: 'auth_request_state',
        sqlState: '23514',
      });
    } finally {
      await database.query('ALTER TABLE auth_request_state DROP CONSTRAINT refuses_tokens');
    }
  });

  it('names the unique index, and not the key that the server quotes in DETAIL', async () => {
    await requests.authorize(aSecretCommand());
    await database.query(`CREATE UNIQUE INDEX one_a_token ON auth_request_state (payment_token)`);
    try {
      await expectFailure(requests.authorize(aSecretCommand()), ConstraintViolationError, {
        retryable: false,
        constraint: 'one_a_token',
        sqlState: '23505',
      });
    } finally {
      await database.query('DROP INDEX one_a_token');
    }
  });

  it('says NOT NULL by its SQLSTATE', async () => {
    const insert = sql('INSERT INTO auth_request_state (payment_token) VALUES ($1)', [TOKEN]);
    await expectFailure(insert, DatabaseError, { sqlState: '23502', retryable: false });
  });

  it.each([
    [
      'a status that goes back',
      `UPDATE auth_request_state SET status = 'PENDING', denial_reason = $2 WHERE auth_request_id = $1`,
      'auth_request_state_status_change',
      '23514',
    ],
    [
      'a request that becomes another',
      `UPDATE auth_request_state SET payment_token = $2 WHERE auth_request_id = $1`,
      'auth_request_state_request_immutable',
      '23514',
    ],
    [
      'an event that changes',
      `UPDATE payment_events SET metadata = to_jsonb($2::text) WHERE aggregate_id = $1`,
      'payment_events_append_only',
      '23001',
    ],
  ])('names the guard: %s', async (_what, text, constraint, sqlState) => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const refused = sql(text, [authRequestId, TOKEN]);
    await expectFailure(refused, ConstraintViolationError, { constraint, sqlState, retryable: false });
  });
});

describe('a value that the database cannot read', () => {
  it('is a DatabaseError, though the server quotes it in its message', async () => {
    await expectFailure(sql('SELECT $1::text::uuid', [TOKEN]), DatabaseError, {
      code: 'DATABASE_ERROR',
      sqlState: '22P02',
      retryable: false,
    });
    await expectFailure(sql('SELECT $1::text::jsonb', [`{"${TOKEN}"`]), DatabaseError, { sqlState: '22P02' });
    await expectFailure(sql('SELECT $1::text::timestamptz', [TOKEN]), DatabaseError, { sqlState: '22007' });
  });
});

describe('a time-out', () => {
  /** Runs an operation whose key somebody else is using in a transaction that stays open. */
  async function waitForKey(settings: { statementTimeoutMs?: number; lockTimeoutMs?: number }): Promise<unknown> {
    const impatient = await quietDataSource({ url: database.url, ...settings });
    const command = aSecretCommand();
    try {
      return await dataSource.transaction(async (manager) => {
        await requests.authorize(command, manager);
        return await failureOf(new AuthRequests(impatient).authorize(command));
      });
    } finally {
      await impatient.destroy();
    }
  }

  it('of a statement is retryable', async () => {
    const failure = waitForKey({ statementTimeoutMs: 200, lockTimeoutMs: 0 }).then((error) =>
      Promise.reject(error as Error),
    );
    await expectFailure(failure, DatabaseTimeoutError, {
      code: 'DATABASE_TIMEOUT',
      sqlState: '57014',
      retryable: true,
    });
  });

  it('of a wait for a lock is retryable', async () => {
    const failure = waitForKey({ lockTimeoutMs: 200 }).then((error) => Promise.reject(error as Error));
    await expectFailure(failure, DatabaseTimeoutError, {
      code: 'DATABASE_TIMEOUT',
      sqlState: '55P03',
      retryable: true,
    });
  });
});

describe('a conflict of transactions', () => {
  it('is retryable: a deadlock', async () => {
    const [one, other] = [await aRequest(dataSource), await aRequest(dataSource)];
    let firstsLocked = 0;
    const inOrder = (first: string, second: string) =>
      dataSource.transaction(async (manager) => {
        await requests.requestVoid(aSecretVoid(first), manager);
        for (firstsLocked++; firstsLocked < 2;) await new Promise(setImmediate);
        await requests.requestVoid(aSecretVoid(second), manager);
      });
    const outcomes = await Promise.allSettled([
      inOrder(one.authRequestId, other.authRequestId),
      inOrder(other.authRequestId, one.authRequestId),
    ]);
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failed).toHaveLength(1);
    await expectFailure(Promise.reject(failed[0]!.reason as Error), TransactionConflictError, {
      code: 'TRANSACTION_CONFLICT',
      sqlState: '40P01',
      retryable: true,
    });
    for (const { authRequestId } of [one, other]) {
      expect(await requests.get({ restaurantId: RESTAURANT, authRequestId })).toMatchObject({ lastEventSequence: 2 });
    }
  });

  it('is retryable: a serialization failure under REPEATABLE READ', async () => {
    const { authRequestId } = await aRequest(dataSource);
    const transaction = dataSource.transaction('REPEATABLE READ', async (manager) => {
      await requests.get({ restaurantId: RESTAURANT, authRequestId }, manager);
      await requests.requestVoid(aSecretVoid(authRequestId));
      await requests.requestVoid(aSecretVoid(authRequestId), manager);
    });
    await expectFailure(transaction, TransactionConflictError, { sqlState: '40001', retryable: true });
  });

  it('is retryable where only COMMIT finds it: a serialization failure under SERIALIZABLE', async () => {
    // Each reads what the other writes: whichever commits second is refused.
    const count = (manager: EntityManager) => sql('SELECT count(*) FROM outbox', [], manager);
    const writeSkew = dataSource.transaction('SERIALIZABLE', async (manager) => {
      await count(manager);
      await requests.authorize(aSecretCommand(), manager);
      await dataSource.transaction('SERIALIZABLE', async (rival) => {
        await count(rival);
        await requests.authorize(aSecretCommand(), rival);
      });
    });
    await expectFailure(writeSkew, TransactionConflictError, { sqlState: '40001', retryable: true });
  });
});

describe('what a caller does wrong', () => {
  it('is told without its values', async () => {
    const command = aSecretCommand();
    const { authRequestId } = await requests.authorize(command);
    const { lease } = await aRequest(dataSource, { started: true });
    const event = {
      type: 'AuthVoidRequested' as const,
      data: { authRequestId, reason: REASON, requestedAt: new Date() },
    };
    const wrong = [
      () => requests.authorize({ ...command, amountCents: 1 }),
      () => requests.authorize({ ...command, currency: TOKEN }),
      () => requests.authorize({ ...command, metadata: { [TOKEN]: 1n } }),
      () => requests.requestVoid({ ...aSecretVoid(authRequestId), idempotencyKey: command.idempotencyKey }),
      () => requests.recordAuthorized({ ...lease, workerId: TOKEN }, anAuthorization()),
      () => requests.recordAuthorized(lease, anAuthorization({ processorAuthId: TOKEN, currency: 'EUR' })),
      () => new EventStore(dataSource).append({ authRequestId, restaurantId: RESTAURANT }, 5, [event]),
    ];
    for (const operation of wrong) {
      const error = await failureOf(operation());
      expect(error).toBeInstanceOf(PaymentEventsDbError);
      expect(error).toMatchObject({ retryable: false, code: expect.any(String) as string });
      expectNoSecretIn(error);
    }
  });
});

describe("what a caller's transaction throws of its own", () => {
  it('comes as it was thrown', async () => {
    const own = new Error('of the caller');
    expect(await failureOf(dataSource.transaction(() => Promise.reject(own)))).toBe(own);
  });
});
