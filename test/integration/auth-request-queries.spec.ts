import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { type AuthRequestStatus } from '../../src/auth-requests/statuses';
import { operations } from '../../src/database/operation';
import { InvalidCommandError } from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { IS_OWNED } from '../../src/fence/owned';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, overlap } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;

beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
});
beforeEach(() => database.query('DELETE FROM auth_request_state'));

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const YEAR = 365 * 24 * HOUR;
/** Rows as operations would have left them some time ago, a microsecond apart, each with its first event. */
async function seed(count: number, { status = 'PENDING', attemptOpen = false, ageMs = 0 } = {}) {
  const rows = await database.query<{ aggregate_id: string }>(
    `WITH state AS (
       INSERT INTO auth_request_state
         (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at, completed_at,
          attempt_open, attempt_unanswered, attempt, attempt_version, unanswered_since, processor_auth_id, authorized_amount_cents, last_event_sequence)
       SELECT gen_random_uuid(), $1, 't', $2, 1, 'USD', now() - $3 * interval '1 millisecond' + n * interval '1 microsecond',
              now(), $4, $4, CASE WHEN $4 THEN 1 END, 'v1', CASE WHEN $4 THEN now() - $3 * interval '1 millisecond' END,
              'p', 1, 1
       FROM generate_series(1, $5) AS n
       RETURNING auth_request_id
     )
     INSERT INTO payment_events (aggregate_id, restaurant_id, aggregate_type, event_type, event_data, sequence_number)
     SELECT auth_request_id, $1, 'auth_request', 'AuthRequestCreated', '', 1 FROM state
     RETURNING aggregate_id`,
    [RESTAURANT, status, ageMs, attemptOpen, count],
  );
  return rows.map(({ aggregate_id }) => aggregate_id);
}
const aRow = async (options: Parameters<typeof seed>[1]) => (await seed(1, options))[0]!;
const ids = (found: readonly { authRequestId: string }[]) => found.map(({ authRequestId }) => authRequestId);

describe('get', () => {
  it('tells all about a request but its payment token', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const authorization = anAuthorization();
    await requests.recordAuthorized(lease, authorization);
    const request = await requests.get({ restaurantId: RESTAURANT.toUpperCase(), authRequestId });
    expect(request).toEqual({
      authRequestId,
      restaurantId: RESTAURANT,
      status: 'AUTHORIZED',
      amountCents: 1050,
      ...authorization,
      denialCode: null,
      denialReason: null,
      metadata: {},
      attemptOpen: false,
      unansweredVersions: [],
      unansweredSince: null,
      retryCount: 0,
      sweeps: 0,
      lastEventSequence: 3,
      createdAt: expect.any(Date) as Date,
      updatedAt: expect.any(Date) as Date,
      completedAt: expect.any(Date) as Date,
    });
  });

  it('gives nothing of another restaurant, and what is not committed to its own transaction only', async () => {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    expect(await requests.get({ restaurantId: uuidv4(), authRequestId })).toBeNull();
    await dataSource.transaction(async (manager) => {
      await requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: '' }, manager);
      const ref = { restaurantId: RESTAURANT, authRequestId };
      expect(await requests.get(ref, manager)).toMatchObject({ status: 'EXPIRED' });
      expect(await requests.get(ref)).toMatchObject({ status: 'PENDING' });
    });
  });
});

describe('list', () => {
  /** Many rows, many of them of the same instant, instants a microsecond apart. */
  const manyRows = () =>
    database.query(
      `INSERT INTO auth_request_state
         (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
       SELECT gen_random_uuid(), $1, 't', 'PENDING', 1, 'USD', timestamptz '2026-03-01 12:00:00.123456Z' + n / 20 * interval '1 microsecond'
       FROM generate_series(0, 299) AS n`,
      [RESTAURANT],
    );
  async function pages(limit: number): Promise<string[]> {
    const walked: string[] = [];
    for (let after: string | undefined; ;) {
      const page = await requests.list({ restaurantId: RESTAURANT, limit, ...(after && { after }) });
      expect(page.requests.length).toBeLessThanOrEqual(limit);
      walked.push(...ids(page.requests));
      if (!page.next) return walked;
      after = page.next;
    }
  }

  it.each([1, 7, 20, 100, 300, 1000])(
    'pages %i at a time: newest first, nothing twice, nothing left out',
    async (limit) => {
      await manyRows();
      const rows = await database.query<{ auth_request_id: string }>(
        'SELECT auth_request_id FROM auth_request_state ORDER BY created_at DESC, auth_request_id DESC',
      );
      expect(await pages(limit)).toEqual(rows.map(({ auth_request_id }) => auth_request_id));
    },
  );

  it('goes on where it was, whatever is new', async () => {
    await manyRows();
    const before = await pages(50);
    const first = await requests.list({ restaurantId: RESTAURANT, limit: 10 });
    for (let i = 0; i < 5; i++) await requests.authorize(anAuthorizeCommand());
    const second = await requests.list({ restaurantId: RESTAURANT, limit: 10, after: first.next });
    expect([...ids(first.requests), ...ids(second.requests)]).toEqual(before.slice(0, 20));
  });

  it('shows a restaurant its own', async () => {
    await manyRows();
    expect(await requests.list({ restaurantId: uuidv4() })).toEqual({ requests: [], next: undefined });
    expect((await requests.list({ restaurantId: RESTAURANT })).requests).toHaveLength(50);
  });

  it.each(['', 'x', '1_2', `1_${'-'.repeat(36)}`, `1_${'a'.repeat(36)}`, `${'9'.repeat(19)}_${RESTAURANT}`])(
    'refuses the cursor "%s" before anything is sent',
    async (after) => {
      await expect(requests.list({ restaurantId: RESTAURANT, after })).rejects.toThrow(InvalidCommandError);
    },
  );
});

describe('what needs attention', () => {
  const STATUSES: AuthRequestStatus[] = [
    'PENDING',
    'PROCESSING',
    'AUTHORIZED',
    'DENIED',
    'FAILED',
    'VOIDED',
    'EXPIRED',
  ];

  it('stuck: PENDING or PROCESSING, of an age, the oldest first', async () => {
    for (const status of STATUSES) await aRow({ status, ageMs: HOUR, attemptOpen: true });
    await database.query('DELETE FROM auth_request_state WHERE status IN ($1, $2)', ['PENDING', 'PROCESSING']);
    const young = await aRow({ ageMs: MINUTE });
    const old = await aRow({ status: 'PROCESSING', ageMs: HOUR });
    const older = await aRow({ ageMs: 2 * HOUR });
    const ancient = await aRow({ ageMs: 3 * YEAR });
    expect(ids(await requests.listStuck({ olderThanMs: 10 * MINUTE }))).toEqual([ancient, older, old]);
    expect(ids(await requests.listStuck({ olderThanMs: 0 }))).toEqual([ancient, older, old, young]);
    expect(ids(await requests.listStuck({ olderThanMs: 0, limit: 2 }))).toEqual([ancient, older]);
    expect(ids(await requests.listStuck({ olderThanMs: 0, withinMs: 90 * MINUTE }))).toEqual([old, young]);
    expect(ids(await requests.listStuck({ olderThanMs: 2 * HOUR, withinMs: 4 * YEAR }))).toEqual([ancient, older]);
  });

  it.each(['listStuck', 'listUnsettled', 'expireStale'] as const)(
    '%s refuses ages that nothing can have',
    async (find) => {
      for (const [olderThanMs, withinMs] of [
        [MINUTE, MINUTE],
        [HOUR, MINUTE],
      ] as const) {
        const error = await requests[find]({ olderThanMs, withinMs }).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(InvalidCommandError);
        expect((error as InvalidCommandError).problems).toEqual([
          'withinMs must be more than olderThanMs, or no request could match',
        ]);
      }
    },
  );

  it('unsettled: whatever the status, somebody may have asked the processor', async () => {
    const open = new Map<AuthRequestStatus, string>();
    for (const status of STATUSES) {
      await aRow({ status, ageMs: HOUR });
      open.set(status, await aRow({ status, ageMs: HOUR, attemptOpen: true }));
    }
    await aRow({ status: 'VOIDED', ageMs: MINUTE, attemptOpen: true });
    const ancient = await aRow({ status: 'VOIDED', ageMs: 3 * YEAR, attemptOpen: true });
    const found = await requests.listUnsettled({ olderThanMs: 10 * MINUTE });
    expect(ids(found).sort()).toEqual([...open.values(), ancient].sort());
    expect(found[0]).toMatchObject({ unansweredVersions: ['v1'], canBeAsked: true });
    const late = await requests.listUnsettled({ olderThanMs: 10 * MINUTE, settleWithinMs: 30 * MINUTE });
    expect(late.map(({ canBeAsked }) => canBeAsked)).toEqual(late.map(() => false));
    expect(await requests.listUnsettled({ olderThanMs: 0, limit: 1 })).toHaveLength(1);
  });
});

describe('pages of what needs attention', () => {
  /** Many rows of one millisecond, several of each of its microseconds; with attempts that were made some time ago. */
  const manyRows = (unansweredSince: string) =>
    database.query(
      `INSERT INTO auth_request_state
         (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at,
          attempt_open, attempt_unanswered, attempt, attempt_version, unanswered_since, last_event_sequence)
       SELECT gen_random_uuid(), $1, 't', 'PROCESSING', 1, 'USD',
              timestamptz '2026-03-01 12:00:00.123Z' + n / 20 * interval '1 microsecond', true, true, 1, 'v1', ${unansweredSince}, 1
       FROM generate_series(0, 149) AS n`,
      [RESTAURANT],
    );
  /** In the order of the rows, by SQL that knows no cursor. */
  const idsBy = async (order: string) =>
    (
      await database.query<{ id: string }>(`SELECT auth_request_id AS id FROM auth_request_state ORDER BY ${order}`)
    ).map(({ id }) => id);
  async function pages(find: 'listStuck' | 'listUnsettled', limit: number): Promise<string[]> {
    const walked: string[] = [];
    for (let after: string | undefined; ;) {
      const page = await requests[find]({ olderThanMs: 0, limit, after });
      walked.push(...ids(page));
      expect(walked.length).toBeLessThanOrEqual(300);
      if (page.length < limit) return walked;
      after = page.at(-1)!.cursor;
    }
  }
  beforeEach(async () => {
    await manyRows(`now() - interval '1 hour'`);
    await manyRows(`now() - interval '2 days'`);
  });

  it.each([1, 7, 20, 150, 299, 300])(
    'of %i stuck ones: the oldest first, nothing twice, nothing left out, also of one millisecond',
    async (limit) => {
      expect(await pages('listStuck', limit)).toEqual(await idsBy('created_at, auth_request_id'));
    },
  );

  it.each([1, 7, 20, 150, 299, 300])(
    'of %i unsettled ones: first those that can be asked, nothing twice, nothing left out',
    async (limit) => {
      const order = `unanswered_since < now() - interval '1 day', created_at, auth_request_id`;
      expect(await pages('listUnsettled', limit)).toEqual(await idsBy(order));
    },
  );

  it('show one again that cannot be asked any more by the next page, among the others, and leave none out for it', async () => {
    const before = await requests.listUnsettled({ olderThanMs: 0, limit: 140 });
    const [late] = before;
    await database.query('ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state');
    await database.query(
      `UPDATE auth_request_state SET unanswered_since = now() - interval '2 days' WHERE auth_request_id = $1`,
      [late!.authRequestId],
    );
    await database.query('ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state');
    const rest = await requests.listUnsettled({ olderThanMs: 0, after: before.at(-1)!.cursor, limit: 300 });
    expect(rest).toContainEqual({
      ...late,
      canBeAsked: false,
      unansweredSince: expect.any(Date) as Date,
      cursor: late!.cursor.replace('0_', '1_'),
    });
    expect(new Set([...ids(before), ...ids(rest)]).size).toBe(300);
    expect(before.length + rest.length).toBe(301);
  });

  it.each([
    '',
    'x',
    `0_1`,
    `2_1_${RESTAURANT}`,
    `1_${RESTAURANT}`,
    `0_${'9'.repeat(19)}_${RESTAURANT}`,
    `0_1_${RESTAURANT},`,
  ])('refuse the cursor "%s" before anything is sent, and say what it must be', async (after) => {
    for (const find of ['listStuck', 'listUnsettled'] as const) {
      const error = await requests[find]({ olderThanMs: 0, after }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidCommandError);
      expect((error as InvalidCommandError).problems).toEqual([
        'after must be what a page of the same list has given to go on at',
      ]);
    }
  });
});

describe('expireStale', () => {
  const statusOf = async (authRequestId: string) =>
    (await requests.get({ restaurantId: RESTAURANT, authRequestId }))?.status;
  it('closes what is of an age and still open, with an event each, and nothing else', async () => {
    const stale = [
      await aRow({ ageMs: 11 * MINUTE }),
      await aRow({ ageMs: 11 * MINUTE, status: 'PROCESSING' }),
      await aRow({ ageMs: 3 * YEAR }),
    ];
    const young = await aRow({ ageMs: 9 * MINUTE });
    const settled = await aRow({ ageMs: 11 * MINUTE, status: 'AUTHORIZED' });
    const closed = await requests.expireStale({
      olderThanMs: 10 * MINUTE,
      reason: 'nobody came',
      correlationId: 'cron',
    });
    expect(closed.sort()).toEqual(stale.sort());
    for (const authRequestId of stale) {
      expect(await statusOf(authRequestId)).toBe('EXPIRED');
      const stream = { authRequestId, restaurantId: RESTAURANT };
      const [event] = await new EventStore(dataSource).readStream(stream, { from: 2 });
      expect(event).toMatchObject({
        type: 'AuthRequestExpired',
        sequenceNumber: 2,
        data: { authRequestId, reason: 'nobody came' },
        metadata: { correlationId: 'cron' },
      });
    }
    expect([await statusOf(young), await statusOf(settled)]).toEqual(['PENDING', 'AUTHORIZED']);
    expect(await requests.expireStale({ olderThanMs: 10 * MINUTE })).toEqual([]);
  });

  it('leaves what is older than it was told to look', async () => {
    const ancient = await aRow({ ageMs: 3 * YEAR });
    const stale = await aRow({ ageMs: HOUR });
    expect(await requests.expireStale({ olderThanMs: 10 * MINUTE, withinMs: 2 * HOUR })).toEqual([stale]);
    expect(await statusOf(ancient)).toBe('PENDING');
  });

  it.each([1, 7, 99, 100, 250])('walks through a backlog of 100 in batches of %i', async (batchSize) => {
    await seed(100, { ageMs: MINUTE });
    expect(new Set(await requests.expireStale({ olderThanMs: 1000, batchSize })).size).toBe(100);
    expect(await requests.listStuck({ olderThanMs: 0 })).toEqual([]);
  });

  it('shares the work between several at once: each request is closed once, none is left', async () => {
    for (let round = 0; round < 5; round++) {
      await database.query('DELETE FROM auth_request_state');
      await seed(300, { ageMs: MINUTE });
      await seed(300, { ageMs: MINUTE, status: 'PROCESSING' });
      const closed = await atOnce(6, () => requests.expireStale({ olderThanMs: 1000, batchSize: 25 }));
      expect(closed.filter(({ length }) => length > 0).length).toBeGreaterThan(1);
      expect(closed.flat()).toHaveLength(600);
      expect(new Set(closed.flat()).size).toBe(600);
      expect(await requests.listStuck({ olderThanMs: 0 })).toEqual([]);
      expect(
        await database.query(
          `SELECT FROM auth_request_state AS state WHERE 1 <> (
             SELECT count(*) FROM payment_events
             WHERE aggregate_id = auth_request_id AND sequence_number = last_event_sequence)`,
        ),
      ).toEqual([]);
    }
  });

  it('leaves alone what a worker is changing, without waiting for it', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const stale = await aRow({ ageMs: 1000 });
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => requests.recordAuthorized(lease, anAuthorization(), manager),
      () => requests.expireStale({ olderThanMs: 1 }),
    );
    expect({ second, waited }).toEqual({ second: [stale], waited: false });
    expect(await statusOf(authRequestId)).toBe('AUTHORIZED');
  });
});

describe('the plan', () => {
  let session: PaymentEventsDataSource;
  const plans = new Map<string, string>();
  const UNFENCED = ['list_stuck', 'list_stuck, a further page', 'list_unsettled', 'list_unsettled, a further page'];

  /** What a session that has prepared the statements does with a table of some size, planned again or once for all. */
  beforeAll(async () => {
    await database.query('ALTER TABLE auth_request_state DISABLE TRIGGER USER');
    await database.query(
      `INSERT INTO auth_request_state
         (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at, completed_at,
          processor_auth_id, authorized_amount_cents)
       SELECT gen_random_uuid(), CASE n % 3 WHEN 0 THEN $1 ELSE md5((n % 20)::text)::uuid END, 't',
              CASE n % 1000 WHEN 0 THEN 'PENDING' ELSE 'AUTHORIZED' END, 1, 'USD',
              now() - (30000 - n) * interval '1 hour', now(), 'p', 1
       FROM generate_series(1, 30000) AS n`,
      [RESTAURANT],
    );
    await database.query('ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state');
    await database.query('ANALYZE auth_request_state');
    session = await new PaymentEventsDataSource(
      createDataSourceOptions({ url: database.url, poolSize: 1 }),
    ).initialize();
    const own = new AuthRequests(session);
    await own.listStuck({ olderThanMs: 0 });
    await own.listUnsettled({ olderThanMs: 0 });
    await own.expireStale({ olderThanMs: 1_000_000_000_000 });
    const { next } = await own.list({ restaurantId: RESTAURANT });
    const [us, id] = next!.split('_');
    const values: Record<string, string> = {
      list_stuck: '0, 604800000, 100, NULL, NULL, NULL, NULL',
      'list_stuck under a fence': '0, 604800000, 100, NULL, NULL, 3, 1',
      'list_stuck, a further page': `0, NULL, 100, ${us}, '${id}', NULL, NULL`,
      'list_stuck under a fence, a further page': `0, NULL, 100, ${us}, '${id}', 3, 1`,
      list_unsettled: '0, 604800000, 100, NULL, NULL, NULL, NULL, NULL, 86400000',
      'list_unsettled under a fence': '0, 604800000, 100, NULL, NULL, 3, 1, NULL, 86400000',
      'list_unsettled, a further page': `0, NULL, 100, ${us}, '${id}', NULL, NULL, true, 86400000`,
      'list_unsettled under a fence, a further page': `0, NULL, 100, ${us}, '${id}', 3, 1, true, 86400000`,
      expire_stale: `0, 604800000, NULL, 100, NULL, NULL, '{}', '', '{}', '', '{}'`,
      'expire_stale of any age, a further batch': `0, NULL, now() - interval '1 day', 100, NULL, NULL, '{}', '', '{}', '', '{}'`,
      'expire_stale under a fence': `0, 604800000, NULL, 100, 3, 1, '{}', '', '{}', '', '{}'`,
      list_auth_requests: `'${RESTAURANT}', ${us}, '${id}', 50`,
    };
    const prepared: { name: string }[] = await session.query('SELECT name FROM pg_prepared_statements');
    for (const mode of ['force_custom_plan', 'force_generic_plan']) {
      await session.query(`SET plan_cache_mode = ${mode}`);
      for (const [statement, parameters] of Object.entries(values)) {
        const { name } = prepared.find((candidate) => candidate.name.startsWith(/^\w+/.exec(statement)![0]))!;
        const lines: { 'QUERY PLAN': string }[] = await session.query(`EXPLAIN EXECUTE "${name}"(${parameters})`);
        plans.set(`${statement} ${mode}`, lines.map((line) => line['QUERY PLAN']).join('\n'));
      }
      for (const statement of UNFENCED) {
        const [, { one }] = [...operations].find(([name]) => name.startsWith(`${/^\w+/.exec(statement)![0]}_`))!;
        const text = one.text.replaceAll(IS_OWNED, 'true');
        expect(text).not.toBe(one.text);
        await session.query(`PREPARE unfenced AS ${text}`);
        const lines: { 'QUERY PLAN': string }[] = await session.query(
          `EXPLAIN EXECUTE unfenced(${values[statement]!})`,
        );
        await session.query('DEALLOCATE unfenced');
        plans.set(`${statement} ${mode} if there were no fences`, lines.map((line) => line['QUERY PLAN']).join('\n'));
      }
    }
  });
  afterAll(() => session.destroy());

  for (const mode of ['force_custom_plan', 'force_generic_plan']) {
    it.each([
      ...['list_stuck, a further page', 'list_unsettled, a further page'],
      ...['list_stuck under a fence, a further page', 'list_unsettled under a fence, a further page'],
    ])(`of %s begins at the cursor by an index (${mode})`, (statement) => {
      const plan = plans.get(`${statement} ${mode}`);
      expect(plan).toMatch(/idx_auth_request_state_created_at|idx_restaurant_created/);
      expect(plan).toMatch(/Index Cond: .*created_at >= .*'(1970-01-01|1969-12-31) .*::interval/);
      expect(plan).not.toContain('Seq Scan');
    });

    it.each([
      ...['list_stuck', 'list_unsettled', 'list_stuck under a fence', 'list_unsettled under a fence'],
      'expire_stale',
      'expire_stale of any age, a further batch',
      'expire_stale under a fence',
    ])(`of %s finds an age by an index (${mode})`, (statement) => {
      const plan = plans.get(`${statement} ${mode}`);
      // The BRIN, or from PostgreSQL 18 a skip scan where restaurants are few.
      expect(plan).toMatch(/idx_auth_request_state_created_at|idx_restaurant_created/);
      expect(plan).toMatch(/Index Cond: \(+created_at </);
      expect(plan).not.toContain('Seq Scan');
    });

    it.each(UNFENCED)(`of %s is without a fence what it is if there were none (${mode})`, (statement) => {
      const shapeOf = (plan: string) => plan.match(/(?<=^ *(-> +)?)[A-Z][\w ]+(?= +\(cost)|Index Cond: .*/gm);
      const unfenced = shapeOf(plans.get(`${statement} ${mode} if there were no fences`)!);
      expect(unfenced!.length).toBeGreaterThan(3);
      expect(shapeOf(plans.get(`${statement} ${mode}`)!)).toEqual(unfenced);
    });

    it(`of a page begins at the cursor and sorts no more than an instant (${mode})`, () => {
      const plan = plans.get(`list_auth_requests ${mode}`);
      expect(plan).toMatch(/Index Scan using idx_restaurant_created/);
      expect(plan).toMatch(/Index Cond: .*restaurant_id = .* AND \(created_at <= /);
      expect(plan).toMatch(/Presorted Key: (auth_request_state\.)?created_at/);
    });
  }
});
