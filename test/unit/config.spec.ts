import { inspect } from 'node:util';
import { DEFAULT_DATABASE_URL, readConfig } from '../../src/config';
import { createDataSourceOptions } from '../../src/data-source';
import { ConfigurationError } from '../../src/errors';

const PASSWORD = 'hunter2%40sea';

function failureOf(env: NodeJS.ProcessEnv): ConfigurationError {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

describe('readConfig', () => {
  test('an empty environment leads to the local database', () => {
    expect(readConfig({})).toEqual({
      databaseUrl: DEFAULT_DATABASE_URL,
      nodeEnv: 'development',
      dataSource: { url: DEFAULT_DATABASE_URL },
    });
  });

  test.each(['production', 'Production', 'staging', 'prod'])(
    'NODE_ENV=%s has no local database by default',
    (NODE_ENV) => {
      for (const DATABASE_URL of [undefined, '']) {
        const error = failureOf({ NODE_ENV, DATABASE_URL });
        expect(error.message).toMatch(/^DATABASE_URL must be set, or PGHOST and PGDATABASE/);
        expect(error).toMatchObject({ code: 'CONFIGURATION', retryable: false });
      }
      const url = 'postgresql://u:p@db.example.com/payments?sslmode=disable';
      expect(readConfig({ NODE_ENV, DATABASE_URL: url })).toMatchObject({ databaseUrl: url, nodeEnv: NODE_ENV });
    },
  );

  test('a map of several databases leaves no default for one of them', () => {
    const PAYMENT_EVENTS_DB_SHARDS = 'shards.json';
    for (const NODE_ENV of ['development', 'test', 'production']) {
      expect(failureOf({ NODE_ENV, PAYMENT_EVENTS_DB_SHARDS }).message).toMatch(/^DATABASE_URL must be set .*--shard/);
    }
    const one = { PGHOST: 'db.internal', PGDATABASE: 'payments', PAYMENT_EVENTS_DB_SHARDS };
    expect(readConfig(one).databaseUrl).toBe(readConfig({ ...one, PAYMENT_EVENTS_DB_SHARDS: '' }).databaseUrl);
  });

  test.each(['development', 'test'])('NODE_ENV=%s has', (NODE_ENV) => {
    expect(readConfig({ NODE_ENV }).databaseUrl).toBe(DEFAULT_DATABASE_URL);
  });

  test('a variable that is empty counts as not set', () => {
    expect(readConfig({ DATABASE_URL: '', PAYMENT_EVENTS_DB_POOL_SIZE: '', NODE_ENV: '' })).toEqual(readConfig({}));
  });

  test('what is read cannot be changed afterwards', () => {
    const config = readConfig({});
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.dataSource)).toBe(true);
  });

  test.each([
    'postgresql://u:p@db.example.com:6432/payments',
    'postgres://u@localhost/payments',
    'postgres://u:p%40%2F%25@[::1]:5433/payments?sslmode=verify-full',
    'postgresql:///payments?host=/var/run/postgresql',
    'postgresql://u@%2Fvar%2Frun%2Fpostgresql/payments',
  ])('%s is a database', (url) => {
    expect(readConfig({ DATABASE_URL: url }).databaseUrl).toBe(url);
  });

  test.each([
    ['another database system', `mysql://u:${PASSWORD}@localhost/payments`],
    ['a web address', `https://u:${PASSWORD}@localhost/payments`],
    ['no scheme', `u:${PASSWORD}@localhost/payments`],
    ['no host', `postgresql:///payments?password=${PASSWORD}`],
    ['no database', `postgresql://u:${PASSWORD}@localhost:5432`],
    ['an empty database', `postgresql://u:${PASSWORD}@localhost:5432/`],
    ['two databases', `postgresql://u:${PASSWORD}@localhost:5432/a/b`],
    ['a port that cannot be', `postgresql://u:${PASSWORD}@localhost:99999/payments`],
    ['a raw slash in the password', `postgresql://u:${PASSWORD}/x@localhost/payments`],
    ['a raw percent sign in the password', `postgresql://u:${PASSWORD}%zz@localhost/payments`],
    ['a trailing line break', `postgresql://u:${PASSWORD}@localhost/payments\n`],
    ['a blank in the password', `postgresql://u:${PASSWORD} x@localhost/payments`],
  ])('a DATABASE_URL with %s is named and described, its password nowhere', (_, DATABASE_URL) => {
    const error = failureOf({ DATABASE_URL });
    expect(error.message).toMatch(
      /^DATABASE_URL (must look like postgresql:\/\/user:password@host:5432\/database|has a port)/,
    );
    const everything = inspect(error, { depth: null, showHidden: true }) + JSON.stringify(error) + error.stack;
    expect(everything).not.toContain('hunter2');
    expect(error.cause).toBeUndefined();
  });

  test.each([
    ['PAYMENT_EVENTS_DB_POOL_SIZE', ['0', '-1', '1.5', '1e3', 'ten', '0x10', '1001', ' 5']],
    ['PAYMENT_EVENTS_DB_CARD_NUMBERS', ['none', 'MASK', 'true']],
    ['PAYMENT_EVENTS_DB_CONNECT_TIMEOUT_MS', ['0', '5s', '2147483648']],
    ['PAYMENT_EVENTS_DB_STATEMENT_TIMEOUT_MS', ['-1', '30s']],
    ['PAYMENT_EVENTS_DB_LOCK_TIMEOUT_MS', ['-1', 'never']],
    ['PAYMENT_EVENTS_DB_IDLE_IN_TRANSACTION_TIMEOUT_MS', ['-1', '1 min']],
    ['PAYMENT_EVENTS_DB_MIGRATION_WAIT_MS', ['-1', '10m']],
    ['PAYMENT_EVENTS_DB_MIGRATION_LOCK_BUDGET_MS', ['-1', '1e9']],
    ['PAYMENT_EVENTS_DB_MIGRATION_HOLD_LIFE_DAYS', ['-1', '36501', '7 days']],
    ['PAYMENT_EVENTS_DB_TIMEOUTS_VIA', ['pgbouncer', 'ROLE']],
    ['PAYMENT_EVENTS_DB_SCHEMA', ['Payments', '1st', 'a-b', 'a.b', '"$user"', 'pg_catalog', 'x'.repeat(64)]],
    ['PAYMENT_EVENTS_DB_APPLICATION_NAME', ['x'.repeat(64), 'zahlung€']],
  ])('%s refuses what it cannot mean', (name, values) => {
    for (const value of values) expect(failureOf({ [name]: value }).message).toMatch(new RegExp(`^${name} must be`));
  });

  test('every wrong variable is named at once', () => {
    const { message } = failureOf({ DATABASE_URL: 'x', PAYMENT_EVENTS_DB_POOL_SIZE: 'x' });
    expect(message).toMatch(/DATABASE_URL .*\nPAYMENT_EVENTS_DB_POOL_SIZE /);
  });

  test('its settings reach the DataSource as they are, and the others keep their defaults', () => {
    const { dataSource } = readConfig({
      PAYMENT_EVENTS_DB_SCHEMA: 'payments',
      PAYMENT_EVENTS_DB_APPLICATION_NAME: 'worker 7',
      PAYMENT_EVENTS_DB_POOL_SIZE: '20',
      PAYMENT_EVENTS_DB_COALESCED_STATEMENTS: '0',
      PAYMENT_EVENTS_DB_CARD_NUMBERS: 'refuse',
      PAYMENT_EVENTS_DB_CONNECT_TIMEOUT_MS: '1000',
      PAYMENT_EVENTS_DB_STATEMENT_TIMEOUT_MS: '0',
      PAYMENT_EVENTS_DB_LOCK_TIMEOUT_MS: '2000',
      PAYMENT_EVENTS_DB_MIGRATION_WAIT_MS: '0',
      PAYMENT_EVENTS_DB_MIGRATION_LOCK_BUDGET_MS: '5000',
      PAYMENT_EVENTS_DB_MIGRATION_HOLD_LIFE_DAYS: '7',
    });
    expect(createDataSourceOptions(dataSource)).toMatchObject({
      url: DEFAULT_DATABASE_URL,
      schema: 'payments',
      applicationName: 'worker 7',
      poolSize: 20,
      connectTimeoutMS: 1000,
      extra: {
        ...{ statement_timeout: 0, lock_timeout: 2000, idle_in_transaction_session_timeout: 30_000 },
        ...{ migrationWaitMs: 0, migrationLockBudgetMs: 5000, migrationHoldLifeDays: 7, coalescedStatements: 0 },
        cardNumbers: 'refuse',
      },
    });
    const { dataSource: pooled } = readConfig({ PAYMENT_EVENTS_DB_TIMEOUTS_VIA: 'role' });
    expect(createDataSourceOptions(pooled).extra).not.toHaveProperty('statement_timeout');
  });
});
