import { z } from 'zod';
import { DATABASE_NAME, HOST, isDatabaseName, isHost, isRoleName, ROLE_NAME } from './connection/connection-rules';
import { PaymentEventsDataSourceSettings } from './connection/data-source-settings';
import { urlOf } from './connection/database-parts';
import { problemOfFile, TLS_MODES, withTlsOf } from './connection/tls';
import { readDatabaseUrl } from './database/database-url';
import { ConfigurationError } from './errors';
import { readInput } from './validation/read-input';
import { isText } from './validation/rules';

/** Where the database is when nobody says otherwise: what Docker Compose and the embedded server offer. */
export const DEFAULT_DATABASE_URL = 'postgresql://postgres:password@localhost:5432/payment_events_db';

const databaseUrl = z.string().transform((text, context) => {
  const read = readDatabaseUrl(text);
  if ('url' in read) return read.url;
  context.addIssue({ code: 'custom', message: read.problem });
  return z.NEVER;
});
const PEM_FILE = 'must be the path of a PEM file';
const pemFile = (variable: string) =>
  z
    .string()
    .superRefine((path, context) => {
      const problem = isText(path) ? problemOfFile(variable, path) : '';
      if (problem !== undefined)
        context.addIssue({ code: 'custom', message: PEM_FILE + (problem && `: it ${problem}`) });
    })
    .optional();

/** Of the settings of the DataSource, those that a variable can hold, and what its text stands for. */
const SETTINGS = {
  schema: String,
  applicationName: String,
  poolSize: toNumber,
  coalescedStatements: toNumber,
  connectTimeoutMs: toNumber,
  statementTimeoutMs: toNumber,
  lockTimeoutMs: toNumber,
  idleInTransactionTimeoutMs: toNumber,
  migrationWaitMs: toNumber,
  migrationLockBudgetMs: toNumber,
  migrationHoldLifeDays: toNumber,
  timeoutsVia: String,
  cardNumbers: String,
} satisfies { readonly [name in keyof PaymentEventsDataSourceSettings]?: (text: string) => string | number };
type Name = keyof typeof SETTINGS;
const NAMES = Object.keys(SETTINGS) as Name[];

/** `PAYMENT_EVENTS_DB_POOL_SIZE` of `poolSize`. */
const variableOf = (name: string) =>
  `PAYMENT_EVENTS_DB_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

/** Nothing but digits: `Number` would also take 0x10 and 1e3. */
function toNumber(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : NaN;
}

/** A text read into a value, and held to the rule that the setting has in code: there is no other. */
const setting = (name: Name) =>
  z.string().transform((text, context) => {
    const value = SETTINGS[name](text);
    const { problems = [] } = readInput(PaymentEventsDataSourceSettings, { [name]: value }, 'refused');
    for (const problem of problems) context.addIssue({ code: 'custom', message: problem.replace(`${name} `, '') });
    return value;
  });

/** Elsewhere a forgotten DATABASE_URL is a mistake, and the well-known password of the default one an invitation. */
const MAY_USE_DEFAULT_URL = ['development', 'test'];

const environment = z.object({
  NODE_ENV: z.string().default('development'),
  DATABASE_URL: databaseUrl.optional(),
  PGHOST: z.string().refine(isHost, { error: HOST }).optional(),
  PGPORT: z
    .string()
    .transform(toNumber)
    .refine((port) => port >= 1 && port <= 65_535, { error: 'must be an integer from 1 to 65535' })
    .optional(),
  PGDATABASE: z.string().refine(isDatabaseName, { error: DATABASE_NAME }).optional(),
  PGUSER: z.string().refine(isRoleName, { error: ROLE_NAME }).optional(),
  PGPASSWORD: z.string().refine(isText, { error: 'must be text, well-formed and without NUL' }).optional(),
  PGSSLMODE: z.enum(TLS_MODES, { error: `must be one of ${TLS_MODES.join(', ')}` }).optional(),
  PGSSLROOTCERT: pemFile('PGSSLROOTCERT'),
  PGSSLCERT: pemFile('PGSSLCERT'),
  PGSSLKEY: pemFile('PGSSLKEY'),
  ...Object.fromEntries(NAMES.map((name) => [variableOf(name), setting(name).optional()])),
});

/** Every variable that {@link readConfig} reads. */
export const ENVIRONMENT_VARIABLES: readonly string[] = Object.keys(environment.shape);

/** What the environment says, checked and frozen. */
export interface Config {
  /**
   * The database: `DATABASE_URL`, as `pg` is to be told it, else what `PGHOST` and the like make. Must be set, in one way or
   * the other, where `NODE_ENV` is neither `development` nor `test`, and where `PAYMENT_EVENTS_DB_SHARDS` is set. Default
   * {@link DEFAULT_DATABASE_URL}. Holds the password: not for logs.
   */
  readonly databaseUrl: string;
  /**
   * What the process is for: `NODE_ENV`. Where it is `production`, development data is refused, and a server on another machine
   * is reached by TLS unless something else is said. Default `development`.
   */
  readonly nodeEnv: string;
  /** For `createDataSourceOptions`: the URL, and the `PAYMENT_EVENTS_DB_…` settings that are set. */
  readonly dataSource: Readonly<Omit<PaymentEventsDataSourceSettings, 'logger'>> & { readonly url: string };
}

/**
 * Reads the settings of this package. A variable that is empty counts as not set.
 *
 * `DATABASE_URL` is the database, and has a default only where `NODE_ENV` is `development` or `test` and there is no map in
 * `PAYMENT_EVENTS_DB_SHARDS`. Where it is not set, `PGHOST` and
 * `PGDATABASE` are, with `PGPORT`, `PGUSER` and `PGPASSWORD`. What it says of TLS holds; else what `PGSSLMODE` says. Every other setting
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
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const settings = environment.safeParse(set);
  if (!settings.success) {
    // zod's own error stays here: a message that names the variable is all that may leave.
    throw new ConfigurationError(
      settings.error.issues.map(({ path, message }) => `${path.join('.')} ${message}.`).join('\n'),
    );
  }
  const { data } = settings;
  const databaseUrl = withTlsOf(data.DATABASE_URL ?? urlOfParts(data) ?? defaultUrl(data, set), set);
  const values = data as Record<string, unknown>;
  const given = NAMES.map((name) => [name, values[variableOf(name)]]).filter(([, value]) => value !== undefined);
  return Object.freeze({
    databaseUrl,
    nodeEnv: data.NODE_ENV,
    dataSource: Object.freeze({ url: databaseUrl, ...(Object.fromEntries(given) as object) }),
  });
}

type Environment = z.infer<typeof environment>;

/** The variables of PostgreSQL's own programs. One of the two alone is a slip: the other database would be a surprise. */
function urlOfParts({ PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD }: Environment): string | undefined {
  if (PGHOST === undefined && PGDATABASE === undefined) return undefined;
  if (PGHOST === undefined)
    throw new ConfigurationError('PGHOST must be set with PGDATABASE, or DATABASE_URL instead.');
  if (PGDATABASE === undefined) {
    throw new ConfigurationError('PGDATABASE must be set with PGHOST, or DATABASE_URL instead.');
  }
  return urlOf({ host: PGHOST, port: PGPORT, database: PGDATABASE, user: PGUSER, password: PGPASSWORD });
}

function defaultUrl({ NODE_ENV }: Environment, { PAYMENT_EVENTS_DB_SHARDS }: NodeJS.ProcessEnv): string {
  if (PAYMENT_EVENTS_DB_SHARDS !== undefined) {
    throw new ConfigurationError(
      'DATABASE_URL must be set for one database: PAYMENT_EVENTS_DB_SHARDS is the map of several. A command takes one of them by ' +
        '--shard <name>, and many take all by --all.',
    );
  }
  if (MAY_USE_DEFAULT_URL.includes(NODE_ENV)) return DEFAULT_DATABASE_URL;
  throw new ConfigurationError(
    'DATABASE_URL must be set, or PGHOST and PGDATABASE: there is a default only where NODE_ENV is development, test or ' +
      'not set.',
  );
}
