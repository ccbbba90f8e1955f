import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { type AuthRequests } from '../../src/auth-requests/auth-requests';
import { inspectCommand } from '../../src/cli/commands/inspect';
import { AuthRequestNotFoundError, InvalidCommandError, PermissionDeniedError } from '../../src/errors';
import { inspectRequest } from '../../src/inspection/inspect-request';
import { type Lease, type ProcessingLocks } from '../../src/locks/processing-locks';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { cliHere, cliProcess } from '../support/processes/cli';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
const TOKEN = 'tok_4f1c7a90d2';
const KEY = 'order-2026-11-27-000451';
let dataSource: DataSource;

beforeAll(async () => {
  await roles.setUp();
  dataSource = await database.dataSource();
});
afterEach(() => database.query('DELETE FROM outbox; DELETE FROM auth_processing_locks'));

/** Prints an inspection, in which no token may stand. */
async function inspect(id: string, ...options: string[]) {
  return await inspectAs(database.url, id, ...options);
}

async function inspectAs(url: string, id: string, ...options: string[]) {
  const finished = await cliHere(url, inspectCommand(), [id, ...options]);
  const printed = finished.stdout + finished.stderr;
  const tokens = await database.query<{ token: string }>(
    `SELECT fencing_token::text AS token FROM auth_processing_locks
     UNION SELECT metadata ->> 'fencing_token' FROM payment_events WHERE metadata ? 'fencing_token'`,
  );
  expect(
    [TOKEN, 'pt_test', KEY, ...tokens.map(({ token }) => token)].filter((token) => printed.includes(token)),
  ).toEqual([]);
  return finished;
}

interface Made {
  requests: AuthRequests;
  locks: ProcessingLocks;
  authRequestId: string;
  lease: Lease;
}

/** A request with a token and a key that are easy to find in what is printed. */
async function aNamedRequest(): Promise<Made> {
  const made = await aRequest(dataSource);
  await made.locks.release(made.lease);
  await database.query('DELETE FROM auth_idempotency_keys WHERE idempotency_key = $1', [KEY]);
  const command = anAuthorizeCommand({ paymentToken: TOKEN, idempotencyKey: KEY, correlationId: 'corr-1' });
  const { authRequestId } = await made.requests.authorize(command);
  const lease = await made.locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId: 'w1', ttlMs: 60_000 });
  return { ...made, authRequestId, lease: lease! };
}

/** As somebody with a psql and the owner's password would. */
const unguarded = (sql: string) =>
  database.query(`BEGIN; ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state; ${sql};
    ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state; COMMIT`);

const deliver = () => new OutboxRelay(dataSource, new RecordingPublisher()).runOnce();

/** What the page says under "What to do next". */
const nextIn = (stdout: string) => stdout.split('What to do next\n')[1]!.trim().split(/\n\s*/);

const expireLease = (authRequestId: string) =>
  database.query(
    `UPDATE auth_processing_locks SET locked_at = now() - interval '2 minutes', expires_at = now() - interval '1 minute'
     WHERE auth_request_id = $1`,
    [authRequestId],
  );

describe('the timeline', () => {
  test('of a pending request has its row, event, message and shortened key, and says that a relay has to deliver', async () => {
    const { authRequestId, locks, lease } = await aNamedRequest();
    await locks.release(lease);
    const { stdout, stderr, exitCode } = await inspect(authRequestId);
    expect(stdout).toMatch(new RegExp(`^${authRequestId}  PENDING  at 20`));
    expect(stdout).toMatch(/asked for +1050 USD, in its minor unit\n/);
    expect(stdout).toMatch(/\n1 +20\S+Z +AuthRequestCreated +asked for 1050 USD +– +– +corr-1 +–\n/);
    expect(stdout).toMatch(/\n\d+ +auth_request_queued +pending +0 /);
    expect(stdout).toMatch(/\norder-20… +authorize +– +20/);
    expect(stdout).toContain('Lease\n  none\n');
    expect(nextIn(stdout)).toEqual([expect.stringMatching(/^Message \d+ waits for a relay since 20/)]);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  });

  test('of a request whose worker is at work says which, until when, and to wait', async () => {
    const { authRequestId, requests, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v7' });
    const { stdout } = await inspect(authRequestId);
    expect(stdout).toMatch(
      /\n2 +20\S+Z +AuthAttemptStarted +about to ask the processor, under configuration version v7 +PROCESSING +w1 /,
    );
    expect(stdout).toMatch(/Lease\n {2}worker w1, held until 20/);
    expect(nextIn(stdout)).toEqual([
      expect.stringMatching(/^Wait: worker w1 has the lease until 20.*asking the processor\.$/),
    ]);
  });

  test('of an unanswered attempt and an expired lease says what is open, and to send it to a worker', async () => {
    const { authRequestId, requests, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v7' });
    await deliver();
    await expireLease(authRequestId);
    const { stdout } = await inspect(authRequestId);
    expect(stdout).toMatch(
      /1 begun; open: under configuration version v7\n {2}since 20\S+Z; the processor can be asked\n/,
    );
    expect(stdout).toMatch(/Lease\n {2}worker w1, expired at 20/);
    expect(stdout).toMatch(/\n\d+ +auth_request_queued +delivered +0 /);
    const [step, ...more] = nextIn(stdout);
    expect(step).toContain('money may be held. The lease of worker w1 has expired');
    expect(step).toContain('Send it to a worker again');
    expect(more).toEqual([]);
  });

  test('of an attempt that is to be retried says when a worker will ask again', async () => {
    const { authRequestId, requests, locks, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v7' });
    await deliver();
    const nextRetryAt = new Date(Date.now() + 3_600_000);
    const failure = { errorCode: 'timeout', errorMessage: 'no answer', outcome: 'unknown' } as const;
    await requests.recordFailure(lease, { ...failure, retryable: true, nextRetryAt });
    await locks.release(lease);
    expect(nextIn((await inspect(authRequestId)).stdout)).toEqual([
      expect.stringMatching(new RegExp(`sends a worker to it at ${nextRetryAt.toISOString()}\\.$`)),
    ]);
  });

  test('of an attempt that nobody can be asked about says to look at the processor and to close it', async () => {
    const { authRequestId, requests, locks, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v7' });
    const unknown = { errorCode: 'timeout', errorMessage: `no answer for ${TOKEN}`, retryable: true } as const;
    await requests.recordFailure(lease, { ...unknown, outcome: 'unknown', nextRetryAt: new Date() });
    await locks.release(lease);
    await database.query(
      `UPDATE auth_request_state SET unanswered_since = now() - interval '25 hours' WHERE auth_request_id = $1`,
      [authRequestId],
    );
    const { stdout } = await inspect(authRequestId);
    expect(stdout).toMatch(
      /failed: timeout no answer for \(token\) \(retry 1 at 20\S+Z, outcome unknown\) +PROCESSING/,
    );
    expect(stdout).toContain('nobody can be asked\n');
    expect(nextIn(stdout)).toEqual([expect.stringContaining("closeUnanswered (configVersion 'v7')")]);
    await requests.closeUnanswered({
      ...{ restaurantId: RESTAURANT, authRequestId, configVersion: 'v7', by: 'ada', reason: 'nothing there' },
    });
    expect((await inspect(authRequestId)).stdout).toContain(
      'ada closed the open attempts made under configuration version v7: nothing there',
    );
  });

  test('of an authorized request says what the processor said, and that there is nothing to do', async () => {
    const { authRequestId, requests, locks, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await requests.recordAuthorized(lease, anAuthorization({ processorAuthId: 'pi_known' }));
    await locks.release(lease);
    const { stdout } = await inspect(authRequestId);
    expect(stdout).toMatch(
      /\n3 .* AuthResponseReceived +stripe authorized 1050 USD as pi_known, code A1 +AUTHORIZED +w1 /,
    );
    expect(stdout).toContain('1 begun, none open');
    expect(nextIn(stdout)).toEqual(['Nothing.']);
  });

  test('of a request that was voided during its attempt says that the processor may hold what it authorized', async () => {
    const { authRequestId, requests, locks, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await requests.requestVoid({
      restaurantId: RESTAURANT,
      authRequestId,
      reason: 'guest left',
      idempotencyKey: uuidv4(),
    });
    await requests.recordAuthorized(lease, anAuthorization());
    const pending = await inspect(authRequestId);
    expect(pending.stdout).toMatch(/AuthVoidRequested +void asked for: guest left /);
    expect(pending.stdout).toMatch(/void_request_queued +pending behind \d+ /);
    expect(pending.stdout).toMatch(
      /Holds\nprocessor .*\nstripe +pi_\S+ +voiding +1050 USD +20\S+Z +no +– +– +– +0 +–\n/,
    );
    await locks.release(lease);
    expect(nextIn((await inspect(authRequestId)).stdout)).toEqual([
      expect.stringMatching(/^Hold pi_\S+ at stripe is being voided: message \d+ waits for a relay since 20/),
    ]);
    await deliver();
    await deliver();
    expect(nextIn((await inspect(authRequestId)).stdout)).toEqual([
      expect.stringMatching(
        /is being voided: message \d+ was delivered at 20.*no worker has recorded how the void ended/,
      ),
    ]);
  });

  test('of a dead letter says its last error, and to requeue it; of a discarded one, who did it and why', async () => {
    const { authRequestId, locks, lease } = await aNamedRequest();
    await locks.release(lease);
    const [message] = await database.query<{ id: string }>(
      `UPDATE outbox SET failed_at = now(), attempts = 10, last_error = E'no\\x1b[2J route' WHERE aggregate_id = $1 RETURNING id`,
      [authRequestId],
    );
    const { stdout } = await inspect(authRequestId);
    expect(stdout).toMatch(/auth_request_queued +dead letter +10 .* no\\u001b\[2J route\n/);
    expect(nextIn(stdout)).toEqual([
      expect.stringMatching(
        new RegExp(`after 10 attempts: .*run: npx payment-events-db outbox requeue ${message!.id}\\.$`),
      ),
    ]);
    await new Outbox(dataSource).discard(BigInt(message!.id), { by: 'ada', reason: 'obsolete' });
    const discarded = (await inspect(authRequestId)).stdout;
    expect(discarded).toMatch(/auth_request_queued +discarded +10 .* ada: obsolete\n/);
    expect(nextIn(discarded)).toEqual([
      expect.stringMatching(/^Its message was discarded at 20.* send it to a worker again .*, or expire it\.$/),
    ]);
  });

  test('of a row that differs shows how, without tokens, and says to find out why and to rebuild it', async () => {
    const { authRequestId, requests, locks, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await locks.release(lease);
    await unguarded(
      `UPDATE auth_request_state SET retry_count = 7, payment_token = 'tok_of_another', attempt_token = 4711
       WHERE auth_request_id = '${authRequestId}'`,
    );
    const { stdout } = await inspect(authRequestId);
    expect(stdout).toMatch(/\n +retryCount +7 +0\n/);
    expect(stdout).toMatch(/\n +paymentToken +\(not shown\) +\(not shown\)\n/);
    expect(stdout).toMatch(/\n +attemptToken +\(not shown\) +\(not shown\)\n/);
    expect(stdout).not.toMatch(/tok_of_another|4711/);
    expect(nextIn(stdout)[0]).toContain(`run: npx payment-events-db rebuild ${authRequestId}`);
  });

  test('of events without a row is there too', async () => {
    const { authRequestId } = await aNamedRequest();
    await unguarded(`DELETE FROM auth_request_state WHERE auth_request_id = '${authRequestId}'`);
    const { stdout, exitCode } = await inspect(authRequestId);
    expect(stdout).toContain(`${authRequestId}  no row`);
    expect(stdout).toContain('asked for 1050 USD');
    expect(nextIn(stdout)[0]).toContain('It has events and no row.');
    expect(exitCode).toBe(0);
  });
});

describe('who may see what', () => {
  async function anUnansweredRequest(): Promise<string> {
    const { authRequestId, requests, locks, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v7' });
    await locks.release(lease);
    return authRequestId;
  }

  test('the read-only role sees row, names of events, messages, keys and lease, and is told what it must not see', async () => {
    const authRequestId = await anUnansweredRequest();
    const { stdout, stderr, exitCode } = await inspectAs(roles.url('readonly'), authRequestId);
    expect(stdout).toMatch(/\n2 +20\S+Z +AuthAttemptStarted +– +– +– +– +–\n/);
    expect(stdout).toMatch(/auth_request_queued +pending/);
    expect(stdout).toMatch(/\(not shown\) +authorize +/);
    expect(stdout).toContain(
      [
        'Not shown',
        '  contents of events: this user must not read them',
        '  difference: this user must not read them',
        '  texts of keys: this user must not read them\n',
      ].join('\n'),
    );
    expect(stdout).toContain('the processor can be asked');
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  });

  test('the worker’s role sees contents and differences, and no messages and keys; the others are refused', async () => {
    const authRequestId = await anUnansweredRequest();
    const inspection = await inspectRequest(await roles.as('worker'), authRequestId);
    expect(inspection.events[1]!.says).toBe('about to ask the processor, under configuration version v7');
    expect(inspection).toMatchObject({ messages: null, keys: null, difference: null });
    expect(inspection.notShown.map(({ part }) => part)).toEqual(['messages', 'keys']);
    for (const role of ['api', 'relay'] as const) {
      await expect(inspectRequest(await roles.as(role), authRequestId)).rejects.toThrow(PermissionDeniedError);
    }
  });

  test('what cannot be searched in time is left out, and the rest is there', async () => {
    const authRequestId = await anUnansweredRequest();
    const blocker = await database.connect();
    await blocker.query('BEGIN; LOCK TABLE auth_idempotency_keys IN ACCESS EXCLUSIVE MODE');
    const { stdout, exitCode } = await cliHere(database.url, inspectCommand(), [authRequestId]);
    await blocker.query('ROLLBACK');
    expect(stdout).toContain('Not shown\n  keys: searching for them took too long\n');
    expect(stdout).toMatch(/auth_request_queued +pending/);
    expect(exitCode).toBe(0);
  });
});

test('--json prints one object: times as texts, ids of messages as digits, no token', async () => {
  const { authRequestId, requests, lease } = await aNamedRequest();
  await requests.startAttempt(lease, { configVersion: 'v1', correlationId: 'corr-2', causationId: 'cause-2' });
  const { stdout, stderr } = await inspect(authRequestId.toUpperCase(), '--json');
  const time = expect.stringMatching(/^20\d\d-\d\d-\d\dT\S+Z$/) as string;
  const id = expect.any(String) as string;
  const events = [
    { sequenceNumber: 1, type: 'AuthRequestCreated', says: 'asked for 1050 USD', statusAfter: null, workerId: null },
    {
      ...{ sequenceNumber: 2, type: 'AuthAttemptStarted', statusAfter: 'PROCESSING', workerId: 'w1' },
      says: 'about to ask the processor, under configuration version v1',
    },
  ];
  const traces = [
    { correlationId: 'corr-1', causationId: null },
    { correlationId: 'corr-2', causationId: 'cause-2' },
  ];
  expect(JSON.parse(stdout)).toEqual({
    ...{ authRequestId, restaurantId: RESTAURANT, at: time, canBeAsked: true, difference: null, notShown: [] },
    request: expect.objectContaining({ status: 'PROCESSING', amountCents: 1050, unansweredVersions: ['v1'] }) as object,
    events: events.map((event, index) => ({ ...event, ...traces[index], eventId: id, createdAt: time })),
    messages: [
      {
        ...{ id: expect.stringMatching(/^\d+$/) as string, messageType: 'auth_request_queued', state: 'pending' },
        ...{ attempts: 0, lastError: null, createdAt: time, nextAttemptAt: null, endedAt: null },
        ...{ discardedBy: null, discardReason: null, behind: null },
      },
    ],
    holds: [],
    keys: [{ beginning: 'order-20', operation: 'authorize', outcome: null, createdAt: time, expiresAt: time }],
    lease: { workerId: 'w1', expiresAt: time, held: true },
    next: [expect.stringContaining('Wait: worker w1') as string],
  });
  expect(stderr).toBe('');
});

describe('what a processor calls an authorization', () => {
  async function anAuthorized(...processorAuthIds: string[]): Promise<string> {
    const { authRequestId, requests, lease } = await aNamedRequest();
    await requests.startAttempt(lease, { configVersion: 'v1' });
    for (const processorAuthId of processorAuthIds) {
      await requests.recordAuthorized(lease, anAuthorization({ processorAuthId }));
    }
    return authRequestId;
  }

  test('finds the request whose row names it', async () => {
    const processorAuthId = uuidv4();
    const authRequestId = await anAuthorized(processorAuthId);
    expect((await inspect(processorAuthId)).stdout).toContain(`${authRequestId}  AUTHORIZED`);
    const { stdout } = await inspectAs(roles.url('readonly'), processorAuthId);
    expect(stdout).toContain(`${authRequestId}  AUTHORIZED`);
  });

  test('finds the request by any of its authorizations, and by nothing that is like one, for every role that may inspect', async () => {
    const authRequestId = await anAuthorized('pi_first_one', 'pi_second_one');
    expect((await inspect('pi_second_one')).stdout).toContain(authRequestId);
    expect((await inspectAs(roles.url('readonly'), 'pi_second_one')).stdout).toContain(authRequestId);
    expect(await inspect('pi_second')).toEqual({
      stdout: '',
      stderr: expect.stringContaining('There is no authorization request pi_second') as string,
      exitCode: 4,
    });
  });

  test('finds the request whose row alone names it, as a client from before there were holds leaves it', async () => {
    const authRequestId = await anAuthorized('pi_of_old');
    await database.query('DELETE FROM auth_holds WHERE auth_request_id = $1', [authRequestId]);
    expect((await inspect('pi_of_old')).stdout).toContain(`${authRequestId}  AUTHORIZED`);
  });

  test('lists the requests with their restaurants where there are several, and ends with 4', async () => {
    const twice = [await anAuthorized('pi_twice'), await anAuthorized('pi_twice')];
    const { stdout, exitCode } = await inspect('pi_twice');
    for (const id of twice) expect(stdout).toMatch(new RegExp(`\n${id}  ${RESTAURANT}\n`));
    expect(exitCode).toBe(4);
    const json = await inspect('pi_twice', '--json');
    expect(
      json.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(twice.toReversed().map((authRequestId) => ({ authRequestId, restaurantId: RESTAURANT })));
    expect(json.exitCode).toBe(4);
  });
});

test('an id that nothing has ends with 4, none at all with 64', async () => {
  const unknown = await inspect(uuidv4());
  expect(unknown).toMatchObject({ stdout: '', exitCode: 4 });
  expect(unknown.stderr).toContain('There is no authorization request');
  expect((await cliHere(database.url, inspectCommand(), [])).exitCode).toBe(64);
  await expect(inspectRequest(dataSource, uuidv4())).rejects.toThrow(AuthRequestNotFoundError);
  await expect(inspectRequest(dataSource, 'pi_1')).rejects.toThrow(InvalidCommandError);
});

test('as a process it prints the same, and ends by itself', async () => {
  const { authRequestId, locks, lease } = await aNamedRequest();
  await locks.release(lease);
  const { stdout, exitCode } = await cliProcess(database.url, ['inspect', authRequestId]);
  expect(stdout).toMatch(/PENDING[^]*asked for 1050 USD[^]*What to do next\n {2}Message/);
  expect(exitCode).toBe(0);
});

test('while a worker writes, no event is seen without the row and the retry that it led to', async () => {
  const { authRequestId, requests, lease } = await aNamedRequest();
  const failed = { errorCode: 'e', errorMessage: 'm', retryable: true, outcome: 'not_asked' } as const;
  let written = false;
  const write = async () => {
    for (let attempt = 0; attempt < 150; attempt++) {
      await requests.startAttempt(lease, { configVersion: 'v1' });
      await requests.recordFailure(lease, { ...failed, nextRetryAt: new Date() });
    }
    written = true;
  };
  const seen: number[] = [];
  const look = async () => {
    while (!written) {
      const { request, events, difference } = await inspectRequest(dataSource, authRequestId);
      seen.push(events.length);
      const retries = events.filter(({ type }) => type === 'AuthAttemptFailed').length;
      const ends = { lastEventSequence: events.at(-1)!.sequenceNumber, retryCount: retries };
      expect({ request, difference }).toMatchObject({ request: ends, difference: null });
    }
  };
  await Promise.all([write(), look(), look()]);
  expect(new Set(seen).size).toBeGreaterThan(20);
});
