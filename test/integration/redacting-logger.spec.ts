import { inspect } from 'node:util';
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { migrate } from '../../src/migrator/migrator';
import { useTestDatabase } from '../support/database/use-test-database';

const SECRET = 'tok_9f8e7d6c5b4a';
const INSERT_KEY = `
  INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id)
  VALUES ($1, $2, gen_random_uuid())`;
const RESTAURANT = '00000000-0000-0000-0000-000000000001';

/** Everything that is written while a test runs, by whatever way. */
let written: string[];
beforeEach(() => {
  written = [];
  const record = (...values: unknown[]) => void written.push(values.map((value) => inspect(value)).join(' '));
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    jest.spyOn(console, method).mockImplementation(record);
  }
  for (const stream of [process.stdout, process.stderr]) {
    jest.spyOn(stream, 'write').mockImplementation((chunk) => (written.push(String(chunk)), true));
  }
});
afterEach(() => jest.restoreAllMocks());

describe('the logger of the DataSource', () => {
  const database = useTestDatabase();

  test.each([
    ['a value that its type refuses', '22P02', [SECRET, SECRET]],
    ['a value that is too long', '22001', [SECRET.repeat(20), RESTAURANT]],
    ['a row that is there already', '23505', [SECRET, RESTAURANT]],
  ])('%s is logged and thrown with its statement and SQLSTATE, without the value', async (_, sqlState, values) => {
    const dataSource = await database.dataSource();
    await dataSource.query(INSERT_KEY, [SECRET, RESTAURANT]).catch(() => undefined);
    written.length = 0;
    const failure: unknown = await dataSource.query(INSERT_KEY, values).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: sqlState, query: INSERT_KEY });
    expect(inspect(failure, { depth: 9, showHidden: true }) + JSON.stringify(failure)).not.toContain(SECRET);
    const log = written.join('\n');
    expect(log).toContain(sqlState);
    expect(log).toContain('INSERT INTO auth_idempotency_keys');
    expect(log).not.toContain(SECRET);
  });

  test('a statement that succeeds is not logged', async () => {
    await (await database.dataSource()).query('SELECT $1::text AS token', [SECRET]);
    expect(written).toEqual([]);
  });

  test('a slow statement is logged without its values', async () => {
    const options = { ...createDataSourceOptions({ url: database.url }), maxQueryExecutionTime: 1 };
    const dataSource = await new PaymentEventsDataSource(options).initialize();
    await dataSource.query('SELECT pg_sleep(0.05), $1::text AS token', [SECRET]).finally(() => dataSource.destroy());
    expect(written.join('\n')).toContain('pg_sleep');
    expect(written.join('\n')).not.toContain(SECRET);
  });
});

describe('a migration that fails on the rows it meets', () => {
  const database = useTestDatabase({ empty: true });

  /** What TypeORM and the CLI (`console.error(error)`) print of it, all properties included. */
  async function failureOf(statement: string): Promise<string> {
    class Failing1700000000000 implements MigrationInterface {
      name = 'Failing1700000000000';
      async up(queryRunner: QueryRunner): Promise<void> {
        await queryRunner.query(`CREATE TABLE tokens (token text, cents int)`);
        // In two parts, since the text of a statement may be printed.
        await queryRunner.query(`INSERT INTO tokens VALUES ('tok_' || '${SECRET.slice(4)}', 0)`);
        await queryRunner.query(statement);
      }
      async down(): Promise<void> {}
    }
    const options = { ...createDataSourceOptions({ url: database.url }), migrations: [Failing1700000000000] };
    const dataSource = await new DataSource(options).initialize();
    const error: unknown = await migrate(dataSource).catch((reason: unknown) => reason);
    await dataSource.destroy();
    expect(error).toBeInstanceOf(Error);
    return [...written, inspect(error, { depth: 9, showHidden: true }), JSON.stringify(error)].join('\n');
  }

  test('says which constraint refused a row, and not what the row holds', async () => {
    await database.query('DROP TABLE IF EXISTS tokens');
    const said = await failureOf(`ALTER TABLE tokens ADD CONSTRAINT check_cents CHECK (cents = 0);
                                  UPDATE tokens SET cents = 1`);
    expect(said).toContain('check_cents');
    expect(said).not.toContain(SECRET);
  });

  test('does not quote the value that cannot be converted', async () => {
    const said = await failureOf('ALTER TABLE tokens ALTER COLUMN token TYPE uuid USING token::uuid');
    expect(said).toContain('22P02');
    expect(said).toContain('Migration "Failing1700000000000" failed');
    expect(said).not.toContain(SECRET);
  });
});
