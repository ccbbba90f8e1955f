import { z } from 'zod';
import { SCHEMA_NAME, SCHEMA_NAMES } from './database/pinned-schema';
import { type PaymentEventsDataSourceSettings } from './data-source';
import { readDatabaseUrl } from './database/database-url';
import { ConfigurationError } from './errors';

/** Where the database is when nobody says otherwise: what Docker Compose and the embedded server offer. */
export const DEFAULT_DATABASE_URL = 'postgresql://postgres:password@localhost:5432/payment_events_db';

const LONGEST_TIMEOUT_MS = 2_147_483_647;

const databaseUrl = z.string().transform((text, context) => {
  const read = readDatabaseUrl(text);
  if ('url' in read) return read.url;
  context.addIssue({ code: 'custom', message: read.problem });
  return z.NEVER;
});
const wholeNumber = (from: number, to: number) =>
  z
    .string()
    .refine((text) => /^\d+$/.test(text) && Number(text) >= from && Number(text) <= to, {
      error: `must be a whole number from ${from} to ${to}`,
    })
    .transform(Number);
const timeoutMs = (from: number) => wholeNumber(from, LONGEST_TIMEOUT_MS).optional();

/** Elsewhere a forgotten DATABASE_URL is a mistake, and the well-known password of the default one an invitation. */
const MAY_USE_DEFAULT_URL = ['development', 'test'];

const environment = z.object({
  NODE_ENV: z.string().default('development'),
  DATABASE_URL: databaseUrl.optional(),
  PAYMENT_EVENTS_DB_SCHEMA: z.string().regex(SCHEMA_NAMES, { error: SCHEMA_NAME }).optional(),
  PAYMENT_EVENTS_DB_APPLICATION_NAME: z
    .string()
    .regex(/^[\x20-\x7e]{1,63}$/, { error: 'must be 1 to 63 printable ASCII characters' })
    .optional(),
  PAYMENT_EVENTS_DB_POOL_SIZE: wholeNumber(1, 1000).optional(),
  PAYMENT_EVENTS_DB_COALESCED_STATEMENTS: wholeNumber(0, 1000).optional(),
  PAYMENT_EVENTS_DB_CONNECT_TIMEOUT_MS: timeoutMs(1),
  PAYMENT_EVENTS_DB_STATEMENT_TIMEOUT_MS: timeoutMs(0),
  PAYMENT_EVENTS_DB_LOCK_TIMEOUT_MS: timeoutMs(0),
  PAYMENT_EVENTS_DB_IDLE_IN_TRANSACTION_TIMEOUT_MS: timeoutMs(0),
  PAYMENT_EVENTS_DB_MIGRATION_WAIT_MS: timeoutMs(0),
  PAYMENT_EVENTS_DB_MIGRATION_LOCK_BUDGET_MS: timeoutMs(0),
  PAYMENT_EVENTS_DB_MIGRATION_HOLD_LIFE_DAYS: wholeNumber(0, 36_500).optional(),
  PAYMENT_EVENTS_DB_TIMEOUTS_VIA: z.enum(['startup', 'role'], { error: 'must be startup or role' }).optional(),
});

/** Every variable that {@link readConfig} reads. */
export const ENVIRONMENT_VARIABLES: readonly string[] = Object.keys(environment.shape);

/** What the environment says, checked and frozen. */
export interface Config {
  /**
   * The database: `DATABASE_URL`, as `pg` is to be told it. Must be set where `NODE_ENV` is neither `development` nor
   * `test`. Default {@link DEFAULT_DATABASE_URL}. Holds the password: not for logs.
   */
  readonly databaseUrl: string;
  /** What the process is for: `NODE_ENV`. Where it is `production`, development data is refused. Default `development`. */
  readonly nodeEnv: string;
  /** For `createDataSourceOptions`: the URL, and the `PAYMENT_EVENTS_DB_…` settings that are set. */
  readonly dataSource: Readonly<Omit<PaymentEventsDataSourceSettings, 'logger'>>;
}

/**
 * Reads the settings of this package. A variable that is empty counts as not set.
 *
 * `DATABASE_URL` is the database, and has a default only where `NODE_ENV` is `development` or `test`. Every other setting
 * of {@link PaymentEventsDataSourceSettings} that a variable can hold has one, `poolSize` for one
 * `PAYMENT_EVENTS_DB_POOL_SIZE`: `docs/reference/settings.md` lists them all.
 *
 * ```ts
 * const options = createDataSourceOptions(readConfig().dataSource);
 * ```
 *
 * @throws ConfigurationError naming each variable that is wrong and what it should look like, never its value.
 */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const settings = environment.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== '')));
  if (!settings.success) {
    // zod's own error stays here: a message that names the variable is all that may leave.
    throw new ConfigurationError(
      settings.error.issues.map(({ path, message }) => `${path.join('.')} ${message}.`).join('\n'),
    );
  }
  const { data } = settings;
  if (data.DATABASE_URL === undefined && !MAY_USE_DEFAULT_URL.includes(data.NODE_ENV)) {
    throw new ConfigurationError(
      'DATABASE_URL must be set: it has a default only where NODE_ENV is development, test or not set.',
    );
  }
  const databaseUrl = data.DATABASE_URL ?? DEFAULT_DATABASE_URL;
  const dataSource = {
    url: databaseUrl,
    schema: data.PAYMENT_EVENTS_DB_SCHEMA,
    applicationName: data.PAYMENT_EVENTS_DB_APPLICATION_NAME,
    poolSize: data.PAYMENT_EVENTS_DB_POOL_SIZE,
    coalescedStatements: data.PAYMENT_EVENTS_DB_COALESCED_STATEMENTS,
    connectTimeoutMs: data.PAYMENT_EVENTS_DB_CONNECT_TIMEOUT_MS,
    statementTimeoutMs: data.PAYMENT_EVENTS_DB_STATEMENT_TIMEOUT_MS,
    lockTimeoutMs: data.PAYMENT_EVENTS_DB_LOCK_TIMEOUT_MS,
    idleInTransactionTimeoutMs: data.PAYMENT_EVENTS_DB_IDLE_IN_TRANSACTION_TIMEOUT_MS,
    migrationWaitMs: data.PAYMENT_EVENTS_DB_MIGRATION_WAIT_MS,
    migrationLockBudgetMs: data.PAYMENT_EVENTS_DB_MIGRATION_LOCK_BUDGET_MS,
    migrationHoldLifeDays: data.PAYMENT_EVENTS_DB_MIGRATION_HOLD_LIFE_DAYS,
    timeoutsVia: data.PAYMENT_EVENTS_DB_TIMEOUTS_VIA,
  };
  return Object.freeze({
    databaseUrl,
    nodeEnv: data.NODE_ENV,
    dataSource: Object.freeze(withoutUndefined(dataSource)),
  });
}

function withoutUndefined<T extends object>(settings: T): T {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as T;
}
