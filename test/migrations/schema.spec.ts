import { randomUUID } from 'node:crypto';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { checkCommand } from '../../src/cli/commands/check';
import { migrateCommand } from '../../src/cli/commands/migrate';
import { planCommand } from '../../src/cli/commands/plan';
import { revertCommand } from '../../src/cli/commands/revert';
import { statusCommand } from '../../src/cli/commands/status';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { adopt } from '../../src/migrator/adopt';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { readHistory } from '../../src/migrator/history';
import { withMigrationLock } from '../../src/migrator/migration-lock';
import { migrate, revert } from '../../src/migrator/migrator';
import { planMigrations } from '../../src/migrator/plan';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { cliHere } from '../support/processes/cli';
import { LATEST_LEVEL } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { type DatabaseOfFile, useTestDatabase } from '../support/database/use-test-database';

const silent = { say: () => undefined };

/** Every table of the database that is not PostgreSQL's own, by schema. */
const TABLES = `
  SELECT relnamespace::regnamespace::text AS schema, count(*)::integer AS tables FROM pg_class
  WHERE relkind = 'r' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
  GROUP BY 1 ORDER BY 1`;

/** A user who owns the database, and so may make schemas in it. */
async function aUser(database: DatabaseOfFile, more: string): Promise<{ name: string; url: string }> {
  const name = `${database.name}_${more}`;
  await database.query(`CREATE ROLE ${name} LOGIN PASSWORD 'password' IN ROLE ${new URL(database.url).username}`);
  return { name, url: Object.assign(new URL(database.url), { username: name, password: 'password' }).href };
}

describe('a schema that is named like the user', () => {
  const database = useTestDatabase({ empty: true });
  const names: string[] = [];
  afterAll(() => database.query(`DROP OWNED BY ${names.join(', ')} CASCADE; DROP ROLE ${names.join(', ')}`));

  test('changes nothing when it appears: no second set of tables, no key that is accepted twice', async () => {
    const user = await aUser(database, 'one');
    names.push(user.name);
    const before = await quietDataSource({ url: user.url });
    await migrate(before, silent);
    const command = anAuthorizeCommand();
    const { authRequestId } = await new AuthRequests(before).authorize(command);
    const tables = await database.query(TABLES);

    await database.query(`CREATE SCHEMA ${user.name} AUTHORIZATION ${user.name}`);
    const after = await quietDataSource({ url: user.url });
    expect(await after.showMigrations()).toBe(false);
    expect(await migrate(after, silent)).toEqual([]);
    for (const dataSource of [before, after]) {
      expect(await new AuthRequests(dataSource).authorize(command)).toMatchObject({ authRequestId, replayed: true });
      await dataSource.destroy();
    }
    expect(await cliHere(user.url, statusCommand(), [])).toMatchObject({ exitCode: 0 });
    expect(await database.query(TABLES)).toEqual(tables);
  });

  test('does not keep two users from excluding each other', async () => {
    const user = await aUser(database, 'two');
    names.push(user.name);
    await database.query(`CREATE SCHEMA ${user.name} AUTHORIZATION ${user.name}`);
    const [one, other] = [
      await quietDataSource({ url: database.url }),
      await quietDataSource({ url: user.url, migrationWaitMs: 100 }),
    ];
    await withMigrationLock(one, silent.say, async () => {
      await expect(migrate(other, silent)).rejects.toMatchObject({ code: 'MIGRATION_IN_PROGRESS' });
    });
    await Promise.all([one.destroy(), other.destroy()]);
  });
});

describe('migration:show', () => {
  const database = useTestDatabase({ empty: true });

  test('makes no history where there is none', async () => {
    const dataSource = await quietDataSource({ url: database.url });
    expect(await dataSource.showMigrations()).toBe(true);
    expect(await database.query(TABLES)).toEqual([]);
    await dataSource.destroy();
  });
});

describe('a schema of the settings', () => {
  const database = useTestDatabase({ empty: true });
  let payments: PaymentEventsDataSource;
  beforeAll(async () => {
    await database.query('CREATE SCHEMA payments; CREATE SCHEMA "user"');
    payments = await quietDataSource({ url: database.url, schema: 'payments' });
  });
  afterAll(() => payments.destroy());

  test('holds everything, and what works in public works in it, the second event of a stream as well', async () => {
    await migrate(payments, silent);
    expect(await database.query(TABLES)).toEqual([{ schema: 'payments', tables: 10 }]);
    expect(await readCatalog(payments)).toBe(targetCatalog);
    const requests = new AuthRequests(payments);
    const command = anAuthorizeCommand();
    const { authRequestId } = await requests.authorize(command);
    await requests.requestVoid({ restaurantId: command.restaurantId, authRequestId, idempotencyKey: 'v', reason: '' });
    expect(await requests.get({ restaurantId: command.restaurantId, authRequestId })).toMatchObject({
      status: 'VOIDED',
    });
  });

  test('is where the guards look, whatever the session that writes looks along', async () => {
    const session = await database.connect();
    const insert = (sequence: number) => `
      INSERT INTO payments.payment_events (aggregate_id, restaurant_id, aggregate_type, event_type, event_data, metadata, sequence_number)
      VALUES ('${randomUUID()}', '${randomUUID()}', 'auth_request', 'AuthRequestCreated', '', '{}', ${sequence})`;
    await session.query('CREATE TEMP TABLE payment_events (aggregate_id uuid, sequence_number integer)');
    await session.query(insert(1));
    await expect(session.query(insert(2))).rejects.toMatchObject({ constraint: 'payment_events_no_gaps' });
    await session.end();
  });

  test('has the commands of its environment, which name it', async () => {
    process.env.PAYMENT_EVENTS_DB_SCHEMA = 'payments';
    try {
      for (const command of [statusCommand(), migrateCommand(), checkCommand(), revertCommand(), migrateCommand()]) {
        const args = command.name() === 'check' ? ['--role-prefix', database.name] : [];
        const { stderr, exitCode } = await cliHere(database.url, command, args, { whole: true });
        expect({ stderr, exitCode }).toEqual({
          stderr: expect.stringMatching(`^Schema payments of ${database.name} at `) as string,
          exitCode: 0,
        });
      }
    } finally {
      delete process.env.PAYMENT_EVENTS_DB_SCHEMA;
    }
    expect(await database.query(TABLES)).toEqual([{ schema: 'payments', tables: 10 }]);
  });

  test('may be a word of SQL, and be migrated by a plan in a session that looks elsewhere', async () => {
    const user = await quietDataSource({ url: database.url, schema: 'user' });
    const { preparation, migrations } = await planMigrations(user);
    const session = await database.connect();
    await session.query('SET search_path = payments');
    for (const sql of [preparation, ...migrations.map(({ statements }) => statements)].flat()) await session.query(sql);
    await session.end();
    expect(await readCatalog(user)).toBe(targetCatalog);
    expect(await readHistory(payments)).toHaveLength(LATEST_LEVEL);
    await revert(user, { ...silent, to: 'LegacySchema' });
    await revert(user, silent);
    await user.destroy();
    expect(await database.query(TABLES)).toEqual([
      { schema: '"user"', tables: 1 },
      { schema: 'payments', tables: 10 },
    ]);
  });

  test('is taken over from Alembic in its place', async () => {
    await database.query(`CREATE SCHEMA legacy`);
    const legacy = await quietDataSource({ url: database.url, schema: 'legacy' });
    await migrate(legacy, { ...silent, to: 'LegacyMockProcessor' });
    await database.query(`
      DROP TABLE legacy.payment_events_db_migrations;
      CREATE TABLE legacy.alembic_version AS SELECT '09c2b295afcd'::varchar(32) AS version_num`);
    expect(await adopt(legacy, silent)).toMatchObject({ outcome: 'adopted' });
    await migrate(legacy, silent);
    expect(await readCatalog(legacy)).toBe(targetCatalog);
    await legacy.destroy();
  });
});

describe('a schema that is not there', () => {
  const database = useTestDatabase();
  const COMMANDS = [statusCommand, migrateCommand, revertCommand, planCommand, checkCommand];

  test('is told at once, by every command, in a sentence', async () => {
    const before = await database.query(TABLES);
    process.env.PAYMENT_EVENTS_DB_SCHEMA = 'nowhere';
    try {
      for (const command of COMMANDS) {
        expect(await cliHere(database.url, command(), [])).toMatchObject({
          stdout: '',
          stderr: expect.stringMatching(
            /^There is no schema nowhere in database \w+, or user \w+ may not use it\./,
          ) as string,
          exitCode: 4,
        });
      }
    } finally {
      delete process.env.PAYMENT_EVENTS_DB_SCHEMA;
    }
    expect(await database.query(TABLES)).toEqual(before);
  });

  test('is one that the user may not use', async () => {
    await database.query(
      `REVOKE USAGE ON SCHEMA public FROM PUBLIC; CREATE ROLE ${database.name}_guest LOGIN PASSWORD 'p'`,
    );
    const url = Object.assign(new URL(database.url), { username: `${database.name}_guest`, password: 'p' }).href;
    await expect(quietDataSource({ url })).rejects.toMatchObject({ code: 'WRONG_SCHEMA', retryable: false });
    await database.query(`DROP ROLE ${database.name}_guest`);
  });
});

describe('what a connection looks along', () => {
  const database = useTestDatabase();
  const settingOf = async (dataSource: PaymentEventsDataSource, name: string) => {
    const [row] = await dataSource.query<{ value: string }[]>(`SELECT current_setting('${name}') AS value`);
    return row!.value;
  };

  test('is the schema and then what is temporary, whatever else the URL asks for', async () => {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c search_path=pg_catalog -c geqo=off');
    const dataSource = await quietDataSource({ url: url.href });
    expect(await settingOf(dataSource, 'search_path')).toBe('public,pg_temp');
    expect(await settingOf(dataSource, 'geqo')).toBe('off');
    await dataSource.destroy();
  });

  test('is the role’s where the role has to say it, which is looked at before anything is sent', async () => {
    const role = `${database.name}_pooled`;
    await database.query(
      `CREATE ROLE ${role} LOGIN PASSWORD 'p'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON SCHEMA public TO ${role}`,
    );
    const url = Object.assign(new URL(database.url), { username: role, password: 'p' }).href;
    await expect(quietDataSource({ url, timeoutsVia: 'role' })).rejects.toMatchObject({
      code: 'WRONG_SCHEMA',
      message: expect.stringContaining(`SET search_path = "public", pg_temp.`) as string,
    });
    await database.query(`ALTER ROLE ${role} IN DATABASE ${database.name} SET search_path = public, pg_temp`);
    const dataSource = await quietDataSource({ url, timeoutsVia: 'role', poolSize: 3 });
    expect(await readHistory(dataSource)).toHaveLength(LATEST_LEVEL);
    // Of those that the pool opens later, each.
    await database.query(`ALTER ROLE ${role} IN DATABASE ${database.name} RESET search_path`);
    const [first, second] = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
    await first.connect();
    await expect(second.connect()).rejects.toMatchObject({ code: 'WRONG_SCHEMA' });
    await first.release();
    await dataSource.destroy();
    await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  });

  test('is said in one place: a schema that is given to TypeORM as well is refused', async () => {
    const options = { ...createDataSourceOptions({ url: database.url }), schema: 'payments' };
    await expect(new PaymentEventsDataSource(options).initialize()).rejects.toMatchObject({ code: 'CONFIGURATION' });
    expect(() => createDataSourceOptions({ url: database.url, schema: 'Not "one"' })).toThrow('must be a name');
  });

  test('has no place for a temporary table that is called like one of ours', async () => {
    const dataSource = await quietDataSource({ url: database.url, poolSize: 1 });
    await dataSource.query(
      'CREATE TEMP TABLE payment_events (LIKE payment_events); CREATE TEMP TABLE outbox (LIKE outbox)',
    );
    const command = anAuthorizeCommand();
    const { authRequestId } = await new AuthRequests(dataSource).authorize(command);
    expect(await database.query('SELECT FROM payment_events')).toHaveLength(1);
    expect(await new AuthRequests(dataSource).get({ restaurantId: command.restaurantId, authRequestId })).toBeDefined();
    await dataSource.destroy();
  });
});
