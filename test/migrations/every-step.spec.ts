import { randomUUID } from 'node:crypto';
import { adopt, ReadModel } from '../../src';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { checkCommand } from '../../src/cli/commands/check';
import { rebuildCommand } from '../../src/cli/commands/rebuild';
import { verifyCommand } from '../../src/cli/commands/verify';
import { encodeEvent, type PaymentEventBody } from '../../src/event-store/event-codec';
import { migrations } from '../../src/migrations';
import { type RequestDifference } from '../../src/read-model/verification';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { cliHere } from '../support/processes/cli';
import { LegacyClient } from '../support/legacy/legacy-client';
import { legacy, loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import {
  EXPANDED_LEVEL,
  LATEST_LEVEL,
  LEGACY_LEVEL,
  levelOf,
  MigrationChain,
} from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

jest.setTimeout(180_000);

const broken = legacy.broken.map(({ authRequestId }) => authRequestId).sort();
const settled = legacy.requests.find(({ status }) => status === 'AUTHORIZED')!;
const LEVELS = migrations.map(({ name }, index) => ({ level: index + 1, name })).slice(LEGACY_LEVEL - 1);

async function differencesIn(dataSource: PaymentEventsDataSource, restaurantId?: string): Promise<RequestDifference[]> {
  const found: RequestDifference[] = [];
  for await (const difference of new ReadModel(dataSource).verify({ restaurantId })) found.push(difference);
  return found;
}

/** Undone again, so that every step finds the same. */
async function afterRebuild(dataSource: PaymentEventsDataSource, id: string, look?: (query: Query) => Promise<Row[]>) {
  const queryRunner = dataSource.createQueryRunner();
  await queryRunner.startTransaction();
  try {
    const rebuild = await new ReadModel(dataSource).rebuild(id, queryRunner.manager);
    const again = await new ReadModel(dataSource).previewRebuild(id, queryRunner.manager);
    return { rebuild, again, found: await look?.((sql, values) => queryRunner.query(sql, values)) };
  } finally {
    await queryRunner.rollbackTransaction();
    await queryRunner.release();
  }
}
type Row = Record<string, unknown>;
type Query = (sql: string, values?: unknown[]) => Promise<Row[]>;

const ROW = 'SELECT to_jsonb(state) AS row FROM auth_request_state AS state WHERE auth_request_id = $1';

describe('at every step of the way', () => {
  const database = useTestDatabase({ empty: true });
  let legacyClient: LegacyClient;
  let dataSource: PaymentEventsDataSource;
  let found: RequestDifference[];
  const cli = (...[command, args]: [Parameters<typeof cliHere>[1], string[]]) => cliHere(database.url, command, args);

  beforeAll(async () => {
    await loadLegacyDatabase(database);
    legacyClient = new LegacyClient(await database.connect());
    dataSource = await quietDataSource({ url: database.url });
    found = await differencesIn(dataSource);
    expect(found.map(({ authRequestId }) => authRequestId).sort()).toEqual(broken);
  });
  afterAll(() => dataSource.destroy());

  test.each(LEVELS)('check, verify and rebuild work: $name', async ({ level, name }) => {
    await new MigrationChain(database).upTo(level);
    const what =
      level === LATEST_LEVEL ? 'the newest migration' : level > LEGACY_LEVEL ? `migration ${name}` : 'Alembic';
    expect(await cli(checkCommand(), ['--role-prefix', database.name])).toMatchObject({
      stdout: expect.stringContaining(`The schema is that of ${what}`) as string,
      exitCode: 0,
    });

    const verified = await cli(verifyCommand(), ['--json']);
    expect(verified).toMatchObject({ stderr: '', exitCode: 1 });
    const lines = verified.stdout.trim().split('\n');
    expect(lines.slice(0, -1)).toEqual(found.map((difference) => JSON.stringify(difference)));
    for (const { authRequestId, restaurantId } of legacy.broken) {
      const ofRestaurant = await differencesIn(dataSource, restaurantId);
      expect(ofRestaurant.map((difference) => difference.authRequestId)).toContain(authRequestId);
      for (const other of broken.filter((id) => id !== authRequestId)) {
        const isThere = legacy.broken.find((one) => one.authRequestId === other)!.restaurantId === restaurantId;
        expect(ofRestaurant.some((difference) => difference.authRequestId === other)).toBe(isThere);
      }
    }

    for (const id of broken) {
      const { rebuild, again } = await afterRebuild(dataSource, id);
      expect(rebuild.outcome).toMatch(/replaced|created/);
      expect(again).toEqual({ authRequestId: id, outcome: 'unchanged', differences: [] });
    }

    // For good, of a row that somebody has lost: all but the times, metadata and the id of its last event.
    const { authRequestId } = settled;
    const [before] = await database.query<{ row: Record<string, unknown> }>(ROW, [authRequestId]);
    await database.query('DELETE FROM auth_request_state WHERE auth_request_id = $1', [authRequestId]);
    expect(await cli(rebuildCommand(), [authRequestId])).toMatchObject({ stderr: '', exitCode: 0 });
    const [after] = await database.query<{ row: Record<string, unknown> }>(ROW, [authRequestId]);
    const kept = ['created_at', 'updated_at', 'completed_at', 'metadata', 'last_event_id'];
    const comparable = (row: Record<string, unknown>) =>
      Object.fromEntries(
        Object.entries(row).filter(([column]) => !kept.includes(column) && !column.startsWith('attempt')),
      );
    expect(comparable(after!.row)).toEqual(comparable(before!.row));

    if (level <= EXPANDED_LEVEL) {
      await legacyClient.workThroughOneRequest();
      // Its events are no protobuf: what it made is no concern of verify.
      await database.query('DELETE FROM payment_events WHERE event_data = $1', [Buffer.from('message')]);
      await database.query(`DELETE FROM auth_request_state WHERE payment_token = 'tok'`);
    }
  });

  test.each(LEVELS.slice(0, -1).toReversed())('and on the way back: $name', async ({ level }) => {
    await new MigrationChain(database).downTo(level);
    expect(await cli(checkCommand(), ['--role-prefix', database.name])).toMatchObject({ stderr: '', exitCode: 0 });
    expect((await differencesIn(dataSource)).map(({ authRequestId }) => authRequestId).sort()).toEqual(broken);
    for (const id of broken) {
      const { again } = await afterRebuild(dataSource, id);
      expect(again.outcome).toBe('unchanged');
    }
  });
});

describe('in a zone other than UTC', () => {
  const database = useTestDatabase({ empty: true });
  const ZONE = 'America/New_York';
  let dataSource: PaymentEventsDataSource;
  beforeAll(async () => {
    await loadAlembicDatabase(database);
    // Of another than the services and the server had: what a session of ours is in says nothing.
    await database.query(`ALTER DATABASE ${database.name} SET TimeZone = 'Asia/Kolkata'`);
    dataSource = await quietDataSource({ url: database.url });
  });
  afterAll(() => dataSource.destroy());

  /** Of its first and last event, in the zone of the rows, and of its row, as it is rebuilt. */
  const times = async (query: Query) =>
    await query(
      `SELECT (SELECT min(created_at) FROM payment_events WHERE aggregate_id = $1)::text AS created,
         (SELECT max(created_at) FROM payment_events WHERE aggregate_id = $1)::text AS completed,
         created_at::text, completed_at::text,
         abs(extract(epoch FROM updated_at - (CASE pg_typeof(updated_at)::text WHEN 'timestamp without time zone'
           THEN now() AT TIME ZONE '${ZONE}' ELSE now()::timestamp END)::timestamp)) < 60 AS updated
       FROM auth_request_state WHERE auth_request_id = $1`,
      [settled.authRequestId],
    );

  test('a database that was not taken over is verified, and not rebuilt', async () => {
    expect((await differencesIn(dataSource)).map(({ authRequestId }) => authRequestId).sort()).toEqual(broken);
    for (const id of broken) {
      expect(await failureOf(new ReadModel(dataSource).rebuild(id))).toMatchObject({
        code: 'LEGACY_TIME_ZONE',
        message: expect.stringContaining('payment-events-db adopt') as string,
      });
    }
  });

  test('what is rebuilt before times have a zone has them in the zone of the column', async () => {
    await adopt(dataSource, { legacyTimeZone: ZONE });
    await database.query('DELETE FROM auth_request_state WHERE auth_request_id = $1', [settled.authRequestId]);
    for (let level = LEGACY_LEVEL; level < levelOf('ContractTimestamps'); level++) {
      await new MigrationChain(database).upTo(level);
      const [row] = (await afterRebuild(dataSource, settled.authRequestId, times)).found!;
      expect({ level, ...row }).toMatchObject({ level, created_at: row!.created, updated: true });
      // A Date has milliseconds.
      expect(String(row!.completed_at).slice(0, 23)).toBe(String(row!.completed).slice(0, 23));
    }
  });

  test('also where clients wrote by a clock in UTC, and where a step stopped half-way', async () => {
    await database.query(`
      ALTER TABLE payment_events_db_migrations ADD COLUMN IF NOT EXISTS legacy_utc_columns text[];
      UPDATE payment_events_db_migrations SET legacy_utc_columns = '{created_at,completed_at}' WHERE id = 1`);
    const inUtc = `SELECT ($1::timestamp AT TIME ZONE '${ZONE}' AT TIME ZONE 'UTC')::text AS at`;
    const before = await afterRebuild(dataSource, settled.authRequestId, times);
    const [row] = before.found!;
    const [created] = await database.query(inUtc, [row!.created]);
    const [completed] = await database.query(inUtc, [row!.completed]);
    expect(row).toMatchObject({ created_at: created!.at, updated: true });
    expect(String(row!.completed_at).slice(0, 23)).toBe(String(completed!.at).slice(0, 23));

    // As ContractTimestamps converts them, one table after the other.
    await database.query(`
      SET TimeZone = '${ZONE}'; ALTER TABLE payment_events ALTER COLUMN created_at TYPE timestamptz; RESET TimeZone`);
    expect((await differencesIn(dataSource)).map(({ authRequestId }) => authRequestId)).toEqual(
      expect.arrayContaining(broken),
    );
    const [half] = (await afterRebuild(dataSource, settled.authRequestId, times)).found!;
    expect(half).toMatchObject({ created_at: row!.created_at, completed_at: row!.completed_at, updated: true });
    await database.query('ALTER TABLE payment_events_db_migrations DROP COLUMN legacy_utc_columns');
  });

  test('and is the same instant to every client afterwards', async () => {
    const readModel = new ReadModel(dataSource);
    await readModel.rebuild(settled.authRequestId);
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    const [row] = await database.query(
      `SELECT date_trunc('milliseconds', max(event.created_at)) = date_trunc('milliseconds', completed_at) AS completed,
         min(event.created_at) = state.created_at AS created, abs(extract(epoch FROM updated_at - now())) < 600 AS updated
       FROM auth_request_state AS state JOIN payment_events AS event ON aggregate_id = auth_request_id
       WHERE auth_request_id = $1 GROUP BY completed_at, state.created_at, updated_at`,
      [settled.authRequestId],
    );
    expect(row).toEqual({ completed: true, created: true, updated: true });
    expect((await readModel.previewRebuild(settled.authRequestId)).outcome).toBe('unchanged');
  });
});

describe('attempts of the legacy services', () => {
  const database = useTestDatabase();
  const id = randomUUID();
  const restaurantId = randomUUID();
  const events: PaymentEventBody[] = [
    {
      type: 'AuthRequestCreated',
      data: {
        authRequestId: id,
        restaurantId,
        paymentToken: 'tok',
        amountCents: 1050,
        currency: 'USD',
        createdAt: undefined,
        metadata: {},
      },
    },
    started(),
    failed(),
    started(),
  ];
  function started(): PaymentEventBody {
    return {
      type: 'AuthAttemptStarted',
      data: { authRequestId: id, workerId: 'w', restaurantPaymentConfigVersion: '', startedAt: undefined },
    };
  }
  function failed(): PaymentEventBody {
    const data = {
      errorCode: 'TokenNotFound',
      errorMessage: '',
      isRetryable: false,
      retryCount: 0,
      nextRetryAt: undefined,
    };
    return { type: 'AuthAttemptFailed', data: { authRequestId: id, ...data, failedAt: undefined } };
  }

  const append = async (from: number, to: number) => {
    for (const [index, event] of events.slice(0, to).entries()) {
      if (index + 1 < from) continue;
      await database.query(
        `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, metadata)
         VALUES ($1, 'auth_request', $2, $3, $4, '"{}"')`,
        [id, event.type, encodeEvent(event), index + 1],
      );
    }
    await database.query(
      `UPDATE auth_request_state SET status = 'PROCESSING', last_event_sequence = $2 WHERE auth_request_id = $1`,
      [id, to],
    );
  };
  const attempt = async () =>
    await database.query('SELECT attempt, attempt_unanswered FROM auth_request_state WHERE auth_request_id = $1', [id]);

  test('are told to rows again after a revert, and to a row that was rebuilt meanwhile', async () => {
    const chain = new MigrationChain(database);
    await chain.downTo(EXPANDED_LEVEL);
    await database.query(
      `INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
       VALUES ($1, $2, 'tok', 'PENDING', 1050, 'USD', now())`,
      [id, restaurantId],
    );
    await append(1, 2);
    await chain.upTo(LATEST_LEVEL);
    expect(await attempt()).toEqual([{ attempt: 2, attempt_unanswered: true }]);
    await chain.downTo(EXPANDED_LEVEL);
    await append(3, 4);
    await chain.upTo(LATEST_LEVEL);
    expect(await attempt()).toEqual([{ attempt: 4, attempt_unanswered: true }]);

    await chain.downTo(EXPANDED_LEVEL);
    const dataSource = await quietDataSource({ url: database.url });
    await database.query('DELETE FROM auth_request_state WHERE auth_request_id = $1', [id]);
    expect(await new ReadModel(dataSource).rebuild(id)).toMatchObject({ outcome: 'created' });
    await chain.upTo(LATEST_LEVEL);
    expect(await attempt()).toEqual([{ attempt: 4, attempt_unanswered: true }]);
    expect(await differencesIn(dataSource)).toEqual([]);
    expect(await new ReadModel(dataSource).previewRebuild(id)).toMatchObject({ outcome: 'unchanged' });
    await dataSource.destroy();
  });
});
