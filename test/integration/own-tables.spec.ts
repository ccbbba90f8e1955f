import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  AbstractLogger,
  Column,
  DataSource,
  type DataSourceOptions,
  Entity,
  EntitySchema,
  type MigrationInterface,
  PrimaryColumn,
  type QueryRunner,
} from 'typeorm';
import {
  AuthRequests,
  ConfigurationError,
  createDataSourceOptions,
  entities,
  findDrift,
  migrations,
  PaymentEventsDataSource,
  type PostgresOptions,
  readHistory,
} from '../../src';
import { ExitCode } from '../../src/cli/exit-codes';
import { DocPage } from '../support/docs/doc-page';
import { cliProcess } from '../support/processes/cli';
import { failureOf } from '../support/processes/within';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const ROOT = join(__dirname, '../..');

@Entity('loyalty_accounts')
class LoyaltyAccount {
  @PrimaryColumn('uuid', { name: 'auth_request_id' })
  authRequestId: string;

  @Column('integer')
  points: number;
}

class CreateLoyaltyAccounts1800000000000 implements MigrationInterface {
  name = 'CreateLoyaltyAccounts1800000000000';
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      'CREATE TABLE loyalty_accounts (auth_request_id uuid PRIMARY KEY, points integer NOT NULL)',
    );
  }
  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('DROP TABLE loyalty_accounts');
  }
}

class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

const OWN_HISTORY = 'loyalty_migrations';
const ownOptions = (url: string): DataSourceOptions => ({
  ...{ type: 'postgres', url, entities: [LoyaltyAccount], migrations: [CreateLoyaltyAccounts1800000000000] },
  ...{ migrationsTableName: OWN_HISTORY, poolSize: 2 },
});

const clean = { exitCode: 0 };

describe('a DataSource of this package refuses at its construction', () => {
  const options = createDataSourceOptions({ url: 'postgresql://localhost/nowhere' });
  const Schema = new EntitySchema({ name: 'Refund', columns: { id: { type: Number, primary: true } } });
  const foreign: [string, Partial<PostgresOptions>, string][] = [
    ['an entity of yours', { entities: [...entities, LoyaltyAccount] }, 'LoyaltyAccount'],
    ['yours in place of its own', { entities: [LoyaltyAccount] }, 'LoyaltyAccount'],
    ['an EntitySchema', { entities: [...entities, Schema] }, 'Refund'],
    ['files of entities', { entities: ['dist/**/*.entity.js'] }, 'dist/**/*.entity.js'],
    ['entities by name', { entities: { LoyaltyAccount } }, 'LoyaltyAccount'],
    [
      'a migration of yours',
      { migrations: [...migrations, CreateLoyaltyAccounts1800000000000] },
      'CreateLoyaltyAccounts1800000000000',
    ],
    ['files of migrations', { migrations: ['dist/migrations/*.js'] }, 'dist/migrations/*.js'],
    ['another history', { migrationsTableName: 'migrations' }, 'migrationsTableName'],
  ];

  it.each(foreign)('%s, and says where it belongs', (_what, changes, name) => {
    const make = () => new PaymentEventsDataSource({ ...options, ...changes });
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(name);
    expect(make).toThrow(/a second DataSource, .*: its documentation has how/s);
  });

  it.each(['synchronize', 'dropSchema'])('%s, which would change the tables past their migrations', (name) => {
    const make = () => new PaymentEventsDataSource({ ...options, [name]: true });
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(`${name} is not for the database of payments`);
  });

  it('nothing of these: its own options, in any order, fewer of them, and migrationsRun', () => {
    const fewer = { entities: entities.slice(1), migrations: migrations.slice(0, 2) };
    const inOrder = { entities: entities.toReversed(), migrations: [...migrations, ...migrations.slice(0, 1)] };
    const off = { synchronize: false, dropSchema: false, migrationsRun: true };
    for (const changes of [{}, fewer, inOrder, off, { entities: [], migrations: [] }]) {
      expect(new PaymentEventsDataSource({ ...options, ...changes })).toBeInstanceOf(DataSource);
    }
  });
});

describe('what typeorm schema:sync and schema:drop call', () => {
  const database = useTestDatabase();

  it.each(['synchronize', 'dropDatabase'] as const)('%s is refused, and every table stays', async (method) => {
    const dataSource = await database.dataSource();
    await new AuthRequests(dataSource).authorize(anAuthorizeCommand());
    const failure = await failureOf(dataSource[method]());
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect((failure as Error).message).toContain(`${method} is not for the database of payments`);
    expect(await database.query('SELECT FROM payment_events')).not.toEqual([]);
    expect(await findDrift(dataSource)).toEqual([]);
  });

  it('also where they are switched on later, as the typeorm command does', async () => {
    for (const name of ['synchronize', 'dropSchema']) {
      const late = new PaymentEventsDataSource(createDataSourceOptions({ url: database.url }));
      expect(await failureOf(late.setOptions({ [name]: true }).initialize())).toBeInstanceOf(ConfigurationError);
      expect(late.isInitialized).toBe(false);
    }
    expect(await database.query('SELECT FROM payment_events')).not.toEqual([]);
  });
});

describe('a second DataSource beside ours', () => {
  const database = useTestDatabase();
  let own: DataSource;
  beforeAll(async () => {
    own = await new DataSource(ownOptions(database.url)).initialize();
  });
  afterAll(() => own.destroy());

  it('runs its migrations by the typeorm command, and neither history sees the other', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'own-tables-'));
    try {
      await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
      await writeFile(join(folder, 'own-ormconfig.js'), OWN_ORMCONFIG);
      const typeorm = async (command: string) => {
        const args = [join(ROOT, 'node_modules/typeorm/cli.js'), command, '-d', 'own-ormconfig.js'];
        const env = { ...process.env, DATABASE_URL: database.url };
        return (await promisify(execFile)(process.execPath, args, { cwd: folder, env })).stdout;
      };
      expect(await typeorm('migration:show')).toContain('[ ] CreateLoyaltyAccounts1800000000000');
      expect(await typeorm('migration:run')).toContain('CreateLoyaltyAccounts1800000000000 has been executed');
      await typeorm('migration:revert');
      expect(await database.query(`SELECT to_regclass('loyalty_accounts') AS it`)).toEqual([{ it: null }]);
      await typeorm('migration:run');
    } finally {
      await rm(folder, { recursive: true });
    }
    expect(await database.query(`SELECT name FROM ${OWN_HISTORY}`)).toEqual([
      { name: 'CreateLoyaltyAccounts1800000000000' },
    ]);
    expect(await own.showMigrations()).toBe(false);
  });

  it.each(['status', 'migrate', 'check', 'verify'])('our command %s is clean beside it', async (command) => {
    const { stdout, stderr, exitCode } = await cliProcess(database.url, [command]);
    expect({ exitCode, stderr }).toMatchObject(clean);
    expect(stdout + stderr).not.toMatch(/loyalty/i);
  });

  it('one transaction writes both or neither: begun with ours, with SQL on the same manager', async () => {
    const dataSource = await database.dataSource();
    const write = (isToFail: boolean) =>
      dataSource.transaction(async (manager) => {
        const { authRequestId } = await new AuthRequests(dataSource).authorize(anAuthorizeCommand(), manager);
        await manager.query('INSERT INTO loyalty_accounts VALUES ($1, 10)', [authRequestId]);
        if (isToFail) throw new Error('on purpose');
        return authRequestId;
      });
    const authRequestId = await write(false);
    await expect(write(true)).rejects.toThrow('on purpose');
    expect(await own.getRepository(LoyaltyAccount).find()).toEqual([{ authRequestId, points: 10 }]);
    expect(await database.query('SELECT auth_request_id FROM auth_request_state')).toEqual([
      { auth_request_id: authRequestId },
    ]);
  });

  it('or begun with theirs, with their repositories and our operations on the same manager', async () => {
    const dataSource = await database.dataSource();
    const write = (isToFail: boolean) =>
      own.transaction(async (manager) => {
        const { authRequestId } = await new AuthRequests(dataSource).authorize(anAuthorizeCommand(), manager);
        await manager.save(LoyaltyAccount, { authRequestId, points: 20 });
        if (isToFail) throw new Error('on purpose');
        return authRequestId;
      });
    const before = await database.query('SELECT FROM auth_request_state');
    const authRequestId = await write(false);
    await expect(write(true)).rejects.toThrow('on purpose');
    expect(await own.getRepository(LoyaltyAccount).findBy({ points: 20 })).toEqual([{ authRequestId, points: 20 }]);
    expect(await database.query('SELECT FROM auth_request_state')).toHaveLength(before.length + 1);
  });

  it.each([
    ['an index', 'CREATE INDEX mine ON payment_events (restaurant_id, event_type)', 'DROP INDEX mine'],
    [
      'a trigger',
      `CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
       CREATE TRIGGER mine AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION mine()`,
      'DROP FUNCTION mine() CASCADE',
    ],
  ])('check calls %s of theirs on a table of ours a difference', async (_what, make, drop) => {
    await database.query(make);
    expect(JSON.stringify(await findDrift(await database.dataSource()))).toContain('mine');
    await database.query(drop);
    expect(await findDrift(await database.dataSource())).toEqual([]);
  });

  it('the manager of ours knows no entity of theirs', async () => {
    const dataSource = await database.dataSource();
    await dataSource.transaction((manager) => {
      expect(() => manager.getRepository(LoyaltyAccount).metadata).toThrow('No metadata for "LoyaltyAccount"');
      return Promise.resolve();
    });
  });
});

describe('a history that TypeORM alone has mixed', () => {
  const database = useTestDatabase();
  const MINE = 'CreateLoyaltyAccounts1800000000000';

  it('is refused by every command that migrates, which say how to get out', async () => {
    const mixed = { migrations: [...migrations, CreateLoyaltyAccounts1800000000000] };
    const options = createDataSourceOptions({ url: database.url, logger: new Silence() });
    const plain = await new DataSource({ ...options, ...mixed }).initialize();
    await plain.runMigrations();
    await plain.destroy();
    const commands = {
      status: ExitCode.failed,
      migrate: ExitCode.refused,
      plan: ExitCode.refused,
      revert: ExitCode.refused,
    };
    for (const [command, refused] of Object.entries(commands)) {
      const { stderr, exitCode } = await cliProcess(database.url, [command]);
      expect([command, exitCode, stderr]).toEqual([command, refused, expect.stringContaining(MINE)]);
      expect(stderr).toMatch(/If they are yours, move them .* the how-to on own tables has the statement/s);
    }
    expect(await database.query(`SELECT to_regclass('loyalty_accounts') IS NOT NULL AS there`)).toEqual([
      { there: true },
    ]);
  });

  it('is parted by the statement of the how-to: nothing is lost, nothing runs twice, all commands work', async () => {
    const [statement] = new DocPage('docs/how-to/own-tables.md').blocksOf('Out of a shared history', 'sql');
    await database.query(statement!);
    for (const command of ['status', 'migrate', 'plan', 'check']) {
      expect([command, await cliProcess(database.url, [command])]).toMatchObject([command, clean]);
    }
    const own = await new DataSource(ownOptions(database.url)).initialize();
    expect(await own.showMigrations()).toBe(false);
    expect(await own.runMigrations()).toEqual([]);
    await own.destroy();
    const history = await readHistory(await database.dataSource());
    expect(history.map(({ state }) => state)).toEqual(migrations.map(() => 'applied'));
  });
});

const OWN_ORMCONFIG = `
  const { DataSource } = require('typeorm');
  class CreateLoyaltyAccounts1800000000000 {
    up(queryRunner) {
      return queryRunner.query('CREATE TABLE loyalty_accounts (auth_request_id uuid PRIMARY KEY, points integer NOT NULL)');
    }
    down(queryRunner) {
      return queryRunner.query('DROP TABLE loyalty_accounts');
    }
  }
  module.exports = new DataSource({
    type: 'postgres',
    url: process.env.DATABASE_URL,
    migrations: [CreateLoyaltyAccounts1800000000000],
    migrationsTableName: '${OWN_HISTORY}',
  });`;
