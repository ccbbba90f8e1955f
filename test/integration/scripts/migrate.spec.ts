import { migrations } from '../../../src/migrations';
import { useTestDatabase } from '../../support/database/use-test-database';
import { runScript, siblingUrl } from './run-script';

const migrate = (url: string, args?: string[], env?: NodeJS.ProcessEnv) =>
  runScript('migrate_payment_events_db.sh', url, args, env);

const names = migrations.map(({ name }) => name);

describe('migrate_payment_events_db.sh on a server without the database', () => {
  const database = useTestDatabase({ empty: true });
  let url: string;
  beforeAll(() => {
    url = siblingUrl(database.url, '_new');
  });
  afterAll(() => database.query(`DROP DATABASE IF EXISTS "${database.name}_new" WITH (FORCE)`));

  test('it creates, migrates and seeds it, and says what is there', async () => {
    const { exitCode, output } = await migrate(url, ['--seed']);
    expect(output).toContain(`Created the database ${database.name}_new.`);
    expect(output).toContain(`Applied ${names.length} migrations.`);
    expect(output).toMatch(/PostgreSQL 1\d/);
    for (const name of names) expect(output).toMatch(new RegExp(`✓ ${name} applied`));
    expect(output).toMatch(/payment_events +0 rows/);
    expect(output).toMatch(/restaurant_payment_configs +1 rows/);
    expect(output).toMatch(new RegExp(`payment_events_db_migrations +${names.length} rows`));
    expect(exitCode).toBe(0);
  });

  test('running it again is harmless', async () => {
    const { exitCode, output } = await migrate(url, ['--seed']);
    expect(output).toContain('No migration was pending.');
    expect(output).toContain('The test restaurant is there already.');
    expect(output).not.toContain('Created');
    expect(output).toMatch(/restaurant_payment_configs +1 rows/);
    expect(exitCode).toBe(0);
  });

  test('the database it created holds text in UTF-8', async () => {
    const [row] = await database.query(
      'SELECT pg_encoding_to_char(encoding) AS encoding FROM pg_database WHERE datname = $1',
      [`${database.name}_new`],
    );
    expect(row).toEqual({ encoding: 'UTF8' });
  });
});

describe('migrate_payment_events_db.sh on an empty database', () => {
  const database = useTestDatabase({ empty: true });

  test('a seed that would be refused is refused before anything is migrated', async () => {
    const { exitCode, output } = await migrate(database.url, ['--seed'], { NODE_ENV: 'production' });
    expect(output).toContain('NODE_ENV is production');
    expect(exitCode).toBe(4);
    expect(await database.query(`SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace`)).toEqual([]);
  });

  test('a migration that fails is named, and the tables that stood in its way', async () => {
    await database.query('CREATE TABLE payment_events (id int)');
    const { exitCode, output } = await migrate(database.url);
    await database.query('DROP TABLE payment_events');
    expect(output).toContain(`Applying ${names[0]}\n`);
    expect(output).toContain(`${names[0]} failed.`);
    expect(output).toContain('relation "payment_events" already exists');
    expect(output).toContain('reset_payment_events_db.sh');
    expect(exitCode).toBe(1);
  });

  test('it migrates in production as well, and then adds no seed', async () => {
    const { exitCode, output } = await migrate(database.url, [], { NODE_ENV: 'production' });
    expect(output).toMatch(/restaurant_payment_configs +0 rows/);
    expect(exitCode).toBe(0);
  });

  test('a migration that only the database knows stops it, by name', async () => {
    await database.query(
      `INSERT INTO payment_events_db_migrations ("timestamp", name) VALUES (1999999999999, 'FromTomorrow1999999999999')`,
    );
    const { exitCode, output } = await migrate(database.url);
    expect(output).toMatch(/does not know:\n {2}FromTomorrow1999999999999\n/);
    expect(exitCode).toBe(4);
  });
});
