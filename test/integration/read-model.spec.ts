import { setTimeout as sleep } from 'node:timers/promises';
import { type Client } from 'pg';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { encodeEvent, type PaymentEventBody } from '../../src/event-store/event-codec';
import { AuthRequestNotFoundError, InvalidCommandError, TransactionRequiredError } from '../../src/errors';
import { UnfoldableStreamError } from '../../src/read-model/fold-stream';
import { ReadModel, RebuildNotAllowedError } from '../../src/read-model/read-model';
import { type RequestDifference, type VerificationScope } from '../../src/read-model/verification';
import { legacy, loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase({ empty: true });
const [behind, contradicting, rowless] = [
  'state_behind_events',
  'status_contradicts_events',
  'events_without_state',
].map((kind) => legacy.broken.find((broken) => broken.kind === kind)!) as [Broken, Broken, Broken];
type Broken = (typeof legacy.broken)[number];

beforeAll(async () => {
  await loadLegacyDatabase(database);
  await new MigrationChain(database).upTo(LATEST_LEVEL);
});

const readModel = async () => new ReadModel(await database.dataSource());

async function verify(scope?: VerificationScope) {
  const verification = (await readModel()).verify(scope);
  const found: RequestDifference[] = [];
  for await (const difference of verification) found.push(difference);
  expect(verification.differing).toBe(found.length);
  return { found, checked: verification.checked };
}

const rowOf = async (id: string) =>
  (await database.query('SELECT *, xmin FROM auth_request_state WHERE auth_request_id = $1', [id]))[0];

describe('on the rows that the services before this package have left', () => {
  const differs = (field: string, inRow: unknown, byEvents: unknown) => ({ field, inRow, byEvents });
  const expected: RequestDifference[] = [
    {
      authRequestId: behind.authRequestId,
      kind: 'row_differs',
      differences: [
        differs('status', 'PROCESSING', 'AUTHORIZED'),
        differs('lastEventSequence', 2, 3),
        differs('processorAuthId', null, 'pi_368fcb330cdac4a31ba96f32'),
        differs('processorName', null, 'stripe'),
        differs('authorizedAmountCents', null, 17947),
        differs('authorizationCode', null, '502658'),
      ] as never,
    },
    {
      authRequestId: contradicting.authRequestId,
      kind: 'row_differs',
      differences: [differs('status', 'AUTHORIZED', 'DENIED')] as never,
    },
    {
      authRequestId: rowless.authRequestId,
      kind: 'row_missing',
      differences: [
        differs('status', null, 'AUTHORIZED'),
        differs('lastEventSequence', null, 3),
        differs('amountCents', null, 1735077),
        differs('currency', null, 'JPY'),
        { field: 'paymentToken' },
        differs('processorAuthId', null, 'pi_325140decd62343999de80b6'),
        differs('processorName', null, 'stripe'),
        differs('authorizedAmountCents', null, 1735077),
        differs('authorizationCode', null, '749319'),
      ] as never,
    },
  ];
  const inOrder = (differences: RequestDifference[]) =>
    [...differences].sort((a, b) => a.authRequestId.localeCompare(b.authRequestId));

  test('verify finds the three that are broken, in the order of their ids, and nothing else', async () => {
    const { found, checked } = await verify();
    expect(found).toEqual(inOrder(expected));
    expect(checked).toBe(legacy.requests.length + legacy.broken.length);
  });

  test("verify of one restaurant looks at that one's requests only", async () => {
    for (const restaurantId of new Set(legacy.requests.map((request) => request.restaurantId))) {
      const own = (requests: Broken[]) => requests.filter((request) => request.restaurantId === restaurantId);
      const { found, checked } = await verify({ restaurantId });
      const broken = own(legacy.broken).map(({ authRequestId }) => authRequestId);
      expect(found).toEqual(inOrder(expected).filter(({ authRequestId }) => broken.includes(authRequestId)));
      expect(checked).toBe(own([...(legacy.requests as Broken[]), ...legacy.broken]).length);
    }
  });

  test('verify of one request looks at that one only', async () => {
    const { authRequestId, restaurantId } = contradicting;
    const result = { found: [expected[1]], checked: 1 };
    expect(await verify({ authRequestId })).toEqual(result);
    expect(await verify({ authRequestId: authRequestId.toUpperCase(), restaurantId })).toEqual(result);
    expect(await verify({ authRequestId: legacy.requests[0]!.authRequestId })).toEqual({ found: [], checked: 1 });
  });

  test('a preview says what a rebuild would change, and changes nothing', async () => {
    const before = await rowOf(contradicting.authRequestId);
    expect(await (await readModel()).previewRebuild(contradicting.authRequestId)).toEqual({
      authRequestId: contradicting.authRequestId,
      outcome: 'replaced',
      differences: [differs('status', 'AUTHORIZED', 'DENIED')],
    });
    expect(await rowOf(contradicting.authRequestId)).toEqual(before);
  });

  test('rebuild repairs them, and keeps created_at, metadata, last_event_id and completed_at of a row that was there', async () => {
    const model = await readModel();
    const before = await database.query('SELECT * FROM auth_request_state ORDER BY auth_request_id');
    const outcomes = [];
    for (const { authRequestId } of legacy.broken) outcomes.push((await model.rebuild(authRequestId)).outcome);
    expect(outcomes.sort()).toEqual(['created', 'replaced', 'replaced']);
    expect(await verify()).toEqual({ found: [], checked: before.length + 1 });

    const ids = legacy.broken.map(({ authRequestId }) => authRequestId);
    const [others, kept] = await Promise.all([
      database.query('SELECT * FROM auth_request_state WHERE auth_request_id <> ALL ($1) ORDER BY auth_request_id', [
        ids,
      ]),
      database.query(
        `SELECT auth_request_id, created_at::text, metadata::text, last_event_id, completed_at::text
         FROM auth_request_state WHERE auth_request_id = ANY ($1)`,
        [ids],
      ),
    ]);
    expect(others).toEqual(before.filter((row) => !ids.includes(row.auth_request_id as string)));
    const keptOf = (id: string) => kept.find((row) => row.auth_request_id === id);
    expect(keptOf(behind.authRequestId)).toMatchObject({
      created_at: '2026-09-15 11:33:13.743871+00',
      metadata: '{}',
      last_event_id: null,
      completed_at: '2026-09-15 11:33:15.377+00',
    });
    expect(keptOf(contradicting.authRequestId)).toMatchObject({
      created_at: '2026-10-14 13:02:58.740475+00',
      metadata: '{"order_id": "order-10001", "table_number": "8"}',
      last_event_id: null,
      completed_at: '2026-10-14 13:03:01.819404+00',
    });
  });

  test('a row that was missing begins with event 1 and ends with the last one', async () => {
    const [row] = await database.query(
      `SELECT state.created_at = first.created_at AS created, state.last_event_id = last.event_id AS last,
              state.completed_at = date_trunc('milliseconds', last.created_at) AS completed,
              state.restaurant_id, state.payment_token, state.metadata, state.attempt_open, state.retry_count
       FROM auth_request_state AS state
       JOIN payment_events AS first ON first.aggregate_id = auth_request_id AND first.sequence_number = 1
       JOIN payment_events AS last ON last.aggregate_id = auth_request_id AND last.sequence_number = 3
       WHERE auth_request_id = $1`,
      [rowless.authRequestId],
    );
    expect(row).toMatchObject({
      created: true,
      last: true,
      completed: true,
      restaurant_id: rowless.restaurantId,
      payment_token: 'pt_83aee9fa-d7eb-4809-af37-f5c27e5624e4',
      metadata: { order_id: 'o74' },
      attempt_open: false,
      retry_count: 0,
    });
  });

  test('every legacy row can be rebuilt; a second time changes nothing', async () => {
    const model = await readModel();
    const ids = legacy.requests.map(({ authRequestId }) => authRequestId);
    for (const id of ids) await model.rebuild(id);
    const before = await database.query('SELECT *, xmin FROM auth_request_state ORDER BY auth_request_id');
    for (const id of ids) {
      expect(await model.rebuild(id)).toEqual({ authRequestId: id, outcome: 'unchanged', differences: [] });
    }
    expect(await database.query('SELECT *, xmin FROM auth_request_state ORDER BY auth_request_id')).toEqual(before);
    expect((await verify()).found).toEqual([]);
  });
});

/** Requests of our own, put there as they are, past the operations. */
const restaurantId = '00000000-0000-0000-0000-000000000001';
let numberOfRequests = 0;
const newId = () => `0199f1e2-7e1c-7000-8000-${String(++numberOfRequests).padStart(12, '0')}`;

const created = (authRequestId: string): PaymentEventBody => ({
  type: 'AuthRequestCreated',
  data: {
    authRequestId,
    paymentToken: 'pt_secret',
    restaurantId,
    amountCents: 1050,
    currency: 'USD',
    metadata: {},
    createdAt: undefined,
  },
});
const voided = (authRequestId: string): PaymentEventBody => ({
  type: 'AuthVoidRequested',
  data: { authRequestId, reason: '', requestedAt: undefined },
});
const started = (authRequestId: string): PaymentEventBody => ({
  type: 'AuthAttemptStarted',
  data: { authRequestId, workerId: '', restaurantPaymentConfigVersion: '', startedAt: undefined },
});
const authorized = (authRequestId: string, processorAuthId = 'pi_1'): PaymentEventBody => ({
  type: 'AuthResponseReceived',
  data: {
    authRequestId,
    status: 'AUTHORIZED',
    receivedAt: undefined,
    result: {
      processorAuthId,
      processorName: 'stripe',
      authorizedAmountCents: 1050,
      currency: 'USD',
      authorizationCode: '',
      authorizedAt: undefined,
      denialCode: '',
      denialReason: '',
      processorMetadata: {},
      holdExpiresAt: undefined,
    },
  },
});

interface Queries {
  query(sql: string, params: unknown[]): Promise<unknown>;
}

async function putEvent(id: string, sequenceNumber: number, event: PaymentEventBody | Buffer, by: Queries = database) {
  const [type, data] = Buffer.isBuffer(event) ? ['AuthVoidRequested', event] : [event.type, encodeEvent(event)];
  await by.query(
    `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
     VALUES ($1, 'auth_request', $2, $3, $4, $5)`,
    [id, type, data, sequenceNumber, restaurantId],
  );
}

/** By the owner, who alone may insert a row that is not PENDING. */
async function putRow(id: string, columns: Record<string, unknown> = {}) {
  const row = {
    auth_request_id: id,
    restaurant_id: restaurantId,
    payment_token: 'pt_secret',
    status: 'PENDING',
    amount_cents: '1050',
    currency: 'USD',
    created_at: new Date(),
    last_event_sequence: 1,
    ...columns,
  };
  const names = Object.keys(row);
  await database.query(
    `INSERT INTO auth_request_state (${names.join(', ')}) VALUES (${names.map((_, index) => `$${index + 1}`).join(', ')})`,
    Object.values(row),
  );
}

async function putRequest(events: ((id: string) => PaymentEventBody)[], columns?: Record<string, unknown>) {
  const id = newId();
  for (const [index, event] of events.entries()) await putEvent(id, index + 1, event(id));
  await putRow(id, { last_event_sequence: events.length, ...columns });
  if (events.includes(authorized)) await putHold(id, events.indexOf(authorized) + 1, !events.includes(voided));
  return id;
}

/** As the backfill makes it of an event of a legacy service. */
async function putHold(id: string, sequenceNumber: number, isNeeded: boolean) {
  await database.query(
    `INSERT INTO auth_holds
       (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at, state, is_needed,
        is_answered, first_event_sequence, last_event_sequence)
     VALUES ($1, $2, 'stripe', 'pi_1', 1050, 'USD', now(), 'held', $4, true, $3, $3)`,
    [id, restaurantId, sequenceNumber, isNeeded],
  );
}

const settled = { completed_at: new Date() };
const holding = { processor_auth_id: 'pi_1', processor_name: 'stripe', authorized_amount_cents: '1050' };

describe('what verify reports', () => {
  test('an authorization that overtook a void in a legacy row: that money was never released', async () => {
    const id = await putRequest([created, started, voided, authorized], {
      status: 'AUTHORIZED',
      ...settled,
      ...holding,
    });
    expect((await verify({ authRequestId: id })).found).toEqual([
      {
        authRequestId: id,
        kind: 'row_differs',
        differences: [{ field: 'status', inRow: 'AUTHORIZED', byEvents: 'VOIDED' }],
      },
    ]);
  });

  test.each([
    ['amount_cents', '1051', { field: 'amountCents', inRow: 1051, byEvents: 1050 }],
    ['currency', 'EUR', { field: 'currency', inRow: 'EUR', byEvents: 'USD' }],
    ['payment_token', 'pt_secret_of_another', { field: 'paymentToken' }],
    ['processor_auth_id', 'pi_2', { field: 'processorAuthId', inRow: 'pi_2', byEvents: 'pi_1' }],
    ['processor_name', 'chase', { field: 'processorName', inRow: 'chase', byEvents: 'stripe' }],
    ['authorized_amount_cents', '1', { field: 'authorizedAmountCents', inRow: 1, byEvents: 1050 }],
    ['authorization_code', '0', { field: 'authorizationCode', inRow: '0', byEvents: null }],
    ['denial_code', '05', { field: 'denialCode', inRow: '05', byEvents: null }],
    ['denial_reason', 'no', { field: 'denialReason', inRow: 'no', byEvents: null }],
    ['last_event_sequence', 4, { field: 'lastEventSequence', inRow: 4, byEvents: 3 }],
  ])('a wrong %s, and no payment token', async (column, value, difference) => {
    const id = await putRequest([created, started, authorized], {
      status: 'AUTHORIZED',
      ...settled,
      ...holding,
      [column]: value,
    });
    const { found } = await verify({ authRequestId: id });
    expect(found).toEqual([{ authRequestId: id, kind: 'row_differs', differences: [difference] }]);
    expect(JSON.stringify(found)).not.toContain('secret');
    await (await readModel()).rebuild(id);
    expect((await verify({ authRequestId: id })).found).toEqual([]);
  });

  test('not times, metadata, last_event_id, an empty text for none, or a current attempt that is closed', async () => {
    const id = await putRequest([created, started, authorized], {
      status: 'AUTHORIZED',
      ...holding,
      authorization_code: '',
      denial_reason: '',
      created_at: new Date(0),
      completed_at: new Date(1),
      metadata: '{"other": true}',
      last_event_id: newId(),
      attempt: null,
      attempt_version: null,
    });
    expect(await verify({ authRequestId: id })).toEqual({ found: [], checked: 1 });
  });

  test('open attempts and retries that differ; they and the restaurant are rebuilt', async () => {
    const id = await putRequest([created, started, voided], {
      status: 'VOIDED',
      ...settled,
      restaurant_id: newId(),
      attempt_open: false,
      retry_count: 3,
    });
    const differing = [
      { field: 'attemptOpen', inRow: false, byEvents: true },
      { field: 'attemptUnanswered', inRow: false, byEvents: true },
      { field: 'attempt', inRow: null, byEvents: 2 },
      { field: 'retryCount', inRow: 3, byEvents: 0 },
    ];
    expect((await verify({ authRequestId: id })).found).toMatchObject([{ differences: differing }]);
    const { differences } = await (await readModel()).rebuild(id);
    expect(differences).toEqual([
      ...differing,
      { field: 'restaurantId', inRow: expect.any(String) as string, byEvents: restaurantId },
    ]);
    expect(await rowOf(id)).toMatchObject({ restaurant_id: restaurantId, attempt_open: true, retry_count: 0 });
  });

  test('a row without events, and rebuild leaves it as it is', async () => {
    const id = newId();
    await putRow(id);
    await expectUnfoldable(id, 'no_events', 1);
  });

  test('a gap in the events', async () => {
    const id = newId();
    await putRow(id);
    await putEvent(id, 1, created(id));
    await database.query('ALTER TABLE payment_events DISABLE TRIGGER payment_events_no_gaps');
    await putEvent(id, 3, voided(id));
    await database.query('ALTER TABLE payment_events ENABLE TRIGGER payment_events_no_gaps');
    await expectUnfoldable(id, 'sequence_gap', 2);
  });

  test('events without event 1 and without a row', async () => {
    const id = newId();
    await database.query('ALTER TABLE payment_events DISABLE TRIGGER payment_events_no_gaps');
    await putEvent(id, 2, voided(id));
    await database.query('ALTER TABLE payment_events ENABLE TRIGGER payment_events_no_gaps');
    expect((await verify()).found).toContainEqual(unfoldable(id, 'sequence_gap', 1));
  });

  test('an event that cannot be read', async () => {
    const id = newId();
    await putRow(id);
    await putEvent(id, 1, created(id));
    await putEvent(id, 2, Buffer.from('secret'));
    await expectUnfoldable(id, 'undecodable_event', 2);
  });

  test('a stream that does not begin with AuthRequestCreated', async () => {
    const id = newId();
    await putRow(id);
    await putEvent(id, 1, voided(id));
    await expectUnfoldable(id, 'no_beginning', 1);
  });

  const unfoldable = (authRequestId: string, reason: string, sequenceNumber: number) => ({
    authRequestId,
    kind: 'events_unfoldable',
    reason,
    sequenceNumber,
  });

  async function expectUnfoldable(id: string, reason: string, sequenceNumber: number) {
    const { found } = await verify({ authRequestId: id });
    expect(found).toEqual([unfoldable(id, reason, sequenceNumber)]);
    const row = await rowOf(id);
    const error: unknown = await (await readModel()).rebuild(id).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UnfoldableStreamError);
    expect(error).toMatchObject({ authRequestId: id, reason, sequenceNumber });
    expect(String(error) + JSON.stringify(error)).not.toContain('secret');
    expect(await rowOf(id)).toEqual(row);
  }

  test('an id that is none, or that nobody has, is an error and no clean result', async () => {
    const model = await readModel();
    expect(() => model.verify({ restaurantId: 'pt_secret' })).toThrow(InvalidCommandError);
    expect(() => model.verify({ restaurantId: 'pt_secret' })).not.toThrow('secret');
    await expect(model.rebuild('1')).rejects.toThrow(InvalidCommandError);
    await expect(verify({ authRequestId: newId() })).rejects.toThrow(AuthRequestNotFoundError);
    await expect(model.rebuild(newId())).rejects.toThrow(AuthRequestNotFoundError);
    await expect(model.previewRebuild(newId())).rejects.toThrow(AuthRequestNotFoundError);
  });
});

test('verify walks page after page and meets every request once, those without a row and without events too', async () => {
  await database.query(`
    INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
    SELECT overlay(gen_random_uuid()::text PLACING 'd' FROM 1 FOR 1)::uuid, 'aaaaaaaa-0000-0000-0000-000000000000', 'pt', 'PENDING', 1, 'USD', now()
    FROM generate_series(1, 700);
    INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
    SELECT id, 'auth_request', 'Nonsense', '', number, 'aaaaaaaa-0000-0000-0000-000000000000'
    FROM (
      SELECT overlay(gen_random_uuid()::text PLACING 'e' FROM 1 FOR 1)::uuid AS id FROM generate_series(1, 700) OFFSET 0
    ) AS stream, generate_series(1, 2) AS number
    ORDER BY id, number;
    INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
    VALUES ('00000000-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000000', 'pt', 'PENDING', 1, 'USD', now()),
           ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'aaaaaaaa-0000-0000-0000-000000000000', 'pt', 'PENDING', 1, 'USD', now())`);
  const { found, checked } = await verify({ restaurantId: 'aaaaaaaa-0000-0000-0000-000000000000' });
  expect(checked).toBe(1402);
  expect(new Set(found.map(({ authRequestId }) => authRequestId)).size).toBe(1402);
  const reasons = found.map((difference) => (difference.kind === 'events_unfoldable' ? difference.reason : 'none'));
  expect(reasons.filter((reason) => reason === 'no_events')).toHaveLength(702);
  expect(reasons.filter((reason) => reason === 'undecodable_event')).toHaveLength(700);
});

test('verify gives no false alarm on requests that change while it runs', async () => {
  const ids = await Promise.all(Array.from({ length: 20 }, () => putRequest([created])));
  const writer = await database.connect();
  let done = false;
  const writing = (async () => {
    for (let sequence = 2; !done; sequence++) {
      for (const id of ids) {
        await writer.query('BEGIN');
        await putEvent(id, sequence, started(id), writer);
        await writer.query(
          `UPDATE auth_request_state
           SET status = 'PROCESSING', last_event_sequence = $2, attempt = $2, attempt_version = '', attempt_unanswered = true,
               unanswered_versions = CASE WHEN attempt_open THEN '{""}'::text[] ELSE '{}' END, attempt_open = true,
               unanswered_since = coalesce(unanswered_since, now())
           WHERE auth_request_id = $1`,
          [id, sequence],
        );
        await writer.query('COMMIT');
      }
    }
  })();
  const found: RequestDifference[] = [];
  for (let run = 0; run < 10; run++) found.push(...(await verify({ restaurantId })).found);
  done = true;
  await writing;
  expect(found.filter(({ authRequestId }) => ids.includes(authRequestId))).toEqual([]);
});

describe('who rebuilds, and beside whom', () => {
  const role = 'read_model_service';
  const broken = () => putRequest([created, started], { status: 'PENDING', last_event_sequence: 1 });
  const dataSourceAs = async (username: string) => {
    const url = Object.assign(new URL(database.url), { username, password: 'password' }).href;
    return new PaymentEventsDataSource(createDataSourceOptions({ url })).initialize();
  };
  // Roles belong to the server, which other test files may share.
  const roleName = () => `${role}_${database.name}`;
  beforeAll(async () => {
    await database.query(`CREATE ROLE ${roleName()} LOGIN PASSWORD 'password'`);
    await database.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${roleName()}`);
  });
  afterAll(async () => {
    await database.query(`DROP OWNED BY ${roleName()}`);
    await database.query(`DROP ROLE ${roleName()}`);
  });

  test('a role that may write but does not own the table is refused, told who may, and changes nothing', async () => {
    const id = await broken();
    const before = await rowOf(id);
    const dataSource = await dataSourceAs(roleName());
    try {
      const model = new ReadModel(dataSource);
      const owner = new URL(database.url).username;
      await expect(model.rebuild(id)).rejects.toThrow(RebuildNotAllowedError);
      await expect(model.rebuild(id)).rejects.toMatchObject({ code: 'REBUILD_NOT_ALLOWED', owner, retryable: false });
      expect(await model.previewRebuild(id)).toMatchObject({ outcome: 'replaced' });
    } finally {
      await dataSource.destroy();
    }
    expect(await rowOf(id)).toEqual(before);
  });

  test('a check that the events break refuses the row, which stays as it was; nothing of it is told', async () => {
    const id = await putRequest([created, started, (id) => authorized(id, '')], { status: 'PROCESSING' });
    const before = await rowOf(id);
    const error: unknown = await (await readModel()).rebuild(id).catch((error: unknown) => error);
    expect(error).toMatchObject({
      code: 'CONSTRAINT_VIOLATION',
      constraint: 'auth_request_state_authorized_complete',
    });
    expect(String(error) + JSON.stringify(error)).not.toContain('secret');
    expect(await rowOf(id)).toEqual(before);
  });

  test("in a transaction of the caller's it is undone with it", async () => {
    const id = await broken();
    const before = await rowOf(id);
    const dataSource = await database.dataSource();
    const model = new ReadModel(dataSource);
    await expect(model.rebuild(id, dataSource.manager)).rejects.toThrow(TransactionRequiredError);
    const undone = dataSource.transaction(async (manager) => {
      const { queryRunner } = manager;
      await putEvent(id, 3, voided(id), { query: (sql, params) => queryRunner!.query(sql, params) });
      const { differences } = await model.rebuild(id, manager);
      expect(differences[0]).toEqual({ field: 'status', inRow: 'PENDING', byEvents: 'VOIDED' });
      expect(await model.previewRebuild(id, manager)).toMatchObject({ outcome: 'unchanged' });
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    expect(await rowOf(id)).toEqual(before);
  });

  const VOID = `UPDATE auth_request_state SET status = 'VOIDED', completed_at = now(), last_event_sequence = last_event_sequence + 1
                WHERE auth_request_id = $1 RETURNING last_event_sequence`;

  test('a writer that meets a rebuild waits, and then finds the rebuilt row', async () => {
    const id = await broken();
    const dataSource = await database.dataSource();
    const writer = await database.connect();
    let voiding: ReturnType<Client['query']> | undefined;
    await dataSource.transaction(async (manager) => {
      await new ReadModel(dataSource).rebuild(id, manager);
      voiding = writer.query(VOID, [id]) as never;
      await untilWaiting(writer);
    });
    expect((await (voiding as unknown as Promise<{ rows: unknown[] }>)).rows).toEqual([{ last_event_sequence: 3 }]);
  });

  test('a rebuild that meets a writer waits, and then counts what it wrote', async () => {
    const id = await broken();
    const writer = await database.connect();
    await writer.query('BEGIN');
    await putEvent(id, 3, voided(id), writer);
    await writer.query(VOID, [id]);
    const rebuilding = (await readModel()).rebuild(id);
    await untilWaiting();
    await writer.query('COMMIT');
    expect(await rebuilding).toMatchObject({ outcome: 'replaced' });
    expect(await rowOf(id)).toMatchObject({ status: 'VOIDED', last_event_sequence: 3 });
    expect((await verify({ authRequestId: id })).found).toEqual([]);
  });

  test('of two rebuilds at once one finds nothing left to do', async () => {
    const id = await broken();
    const dataSource = await database.dataSource();
    const model = new ReadModel(dataSource);
    const [first, other] = await dataSource.transaction(async (manager) => {
      await model.rebuild(id, manager);
      const other = model.rebuild(id);
      await untilWaiting();
      const [row] = await manager.query<object[]>('SELECT *, xmin FROM auth_request_state WHERE auth_request_id = $1', [
        id,
      ]);
      return [row, { other }];
    });
    expect(await other.other).toMatchObject({ outcome: 'unchanged' });
    expect(await rowOf(id)).toEqual(first);
  });

  test('a rebuild gives up on a long writer, with an error that may be tried again, unless the row is right', async () => {
    const [id, right] = [await broken(), await putRequest([created])];
    const writer = await database.connect();
    await writer.query('BEGIN');
    await writer.query(VOID, [id]);
    const patient = new PaymentEventsDataSource(
      createDataSourceOptions({ url: database.url, lockTimeoutMs: 0, statementTimeoutMs: 10_000 }),
    );
    const model = new ReadModel(await patient.initialize());
    try {
      expect(await model.rebuild(right)).toMatchObject({ outcome: 'unchanged' });
      const gaveUp = { code: 'DATABASE_TIMEOUT', sqlState: '55P03', retryable: true };
      await expect(model.rebuild(id)).rejects.toMatchObject(gaveUp);
      await writer.query('ROLLBACK');
      expect(await model.rebuild(id)).toMatchObject({ outcome: 'replaced' });
    } finally {
      await patient.destroy();
    }
  });

  /** Until somebody, or that session, waits for a lock on the table. */
  async function untilWaiting(session?: Client) {
    const pid = (session as unknown as { processID?: number } | undefined)?.processID ?? null;
    const waiting = `SELECT FROM pg_locks WHERE NOT granted AND relation = 'auth_request_state'::regclass
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                     AND ($1::int IS NULL OR pid = $1)`;
    while ((await database.query(waiting, [pid])).length === 0) await sleep(10);
  }
});
