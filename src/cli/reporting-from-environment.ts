import { z } from 'zod';
import { readConfig } from '../config';
import { withTlsOf } from '../connection/tls';
import { readDatabaseUrl } from '../database/database-url';
import { ConfigurationError } from '../errors';
import { type ReportingPlace, type ReportingSettings } from '../reporting/settings';
import { shardMapFromEnvironment } from '../shards/map-sources';
import { readShardMap, type ShardMapSource } from '../shards/shard-map';
import { SilentLogger } from './with-data-source';

const environment = z.object({
  PAYMENT_EVENTS_DB_REPORTING_URL: z.string().transform((text, context) => {
    const read = readDatabaseUrl(text);
    if ('url' in read) return read.url;
    context.addIssue({ code: 'custom', message: read.problem });
    return z.NEVER;
  }),
  PAYMENT_EVENTS_DB_REPORTING_READER: z.string(),
  PAYMENT_EVENTS_DB_REPORTING_READER_PASSWORD: z.string(),
});
type Name = keyof typeof environment.shape;

/** The variables that `reporting` reads, and what each is. */
export const REPORTING_VARIABLES: Readonly<Record<Name, string>> = {
  PAYMENT_EVENTS_DB_REPORTING_URL: 'The reporting database, as `DATABASE_URL` is written. Its user owns it.',
  PAYMENT_EVENTS_DB_REPORTING_READER: 'The login that the reporting database reads the other databases as.',
  PAYMENT_EVENTS_DB_REPORTING_READER_PASSWORD: 'Its password. It stays in the reporting database.',
};

/** @throws ConfigurationError naming the variable that is not set, or wrong, and never its value */
export function readPlace(rolePrefix: string, env = process.env): ReportingPlace {
  const { PAYMENT_EVENTS_DB_REPORTING_URL: url } = read('PAYMENT_EVENTS_DB_REPORTING_URL')(env);
  // What is said of connections holds for all databases, whichever of them the environment names.
  const { dataSource } = readConfig({ ...env, DATABASE_URL: env.DATABASE_URL || url });
  return { url: withTlsOf(url, env), rolePrefix, dataSource: { ...dataSource, logger: new SilentLogger() } };
}

/** @throws ConfigurationError naming the variable that is not set */
export function readReader(env = process.env): Pick<ReportingSettings, 'reader' | 'readerPassword'> {
  const names = ['PAYMENT_EVENTS_DB_REPORTING_READER', 'PAYMENT_EVENTS_DB_REPORTING_READER_PASSWORD'] as const;
  const given = read(...names)(env);
  return { reader: given[names[0]], readerPassword: given[names[1]] };
}

/** The map of `PAYMENT_EVENTS_DB_SHARDS`; where that is not set, the one database of `DATABASE_URL`, for all restaurants. */
export function readMapSource(env = process.env): ShardMapSource {
  if (env.PAYMENT_EVENTS_DB_SHARDS) return shardMapFromEnvironment(env);
  const all = { name: 'only', modulus: 1, remainder: 0, number: 0, url: readConfig(env).databaseUrl };
  return { load: () => Promise.resolve(readShardMap({ version: 1, shards: [all] })) };
}

const read =
  <Names extends Name>(...names: Names[]) =>
  (env: NodeJS.ProcessEnv) => {
    const set = Object.fromEntries(names.map((name) => [name, env[name] === '' ? undefined : env[name]]));
    const pick = Object.fromEntries(names.map((name) => [name, true])) as Record<Names, true>;
    const given = environment.pick(pick as never).safeParse(set);
    if (given.success) return given.data as Record<Names, string>;
    throw new ConfigurationError(
      given.error.issues
        .map(
          ({ path, message }) => `${path.join('.')} ${set[String(path[0])] === undefined ? 'must be set' : message}.`,
        )
        .join('\n'),
    );
  };
