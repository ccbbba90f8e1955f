import { type QueryRunner } from 'typeorm';
import { type PaymentEventsDataSourceSettings } from '../connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { databaseAddress } from '../database/database-address';
import { translateError } from '../database/translate-error';
import { toLogger, withMigrationLock } from '../migrator/migration-lock';
import { type ShardEntry, type ShardMap } from '../shards/shard-map';
import { ReportingRefusedError } from './errors';
import { type ReportingPlace } from './settings';

/** A database of the map that is open. */
export interface OpenShard {
  readonly entry: ShardEntry;
  readonly dataSource: PaymentEventsDataSource;
}

/** Opens the reporting database, and closes it whatever happens. */
export async function withReporting<T>(
  place: ReportingPlace,
  work: (reporting: PaymentEventsDataSource) => Promise<T>,
): Promise<T> {
  try {
    return await withDatabase({ ...settingsOf(place), schema: undefined, url: place.url }, work);
  } catch (error) {
    throw translateError(error);
  }
}

/** Opens all databases of the map. @throws ReportingRefusedError where the reporting database is one of them */
export async function withShards<T>(
  { shards }: ShardMap,
  place: ReportingPlace,
  work: (shards: readonly OpenShard[]) => Promise<T>,
): Promise<T> {
  const same = shards.find(({ url }) => addressOf(url) === addressOf(place.url));
  if (same) {
    const reason = `The reporting database is database ${same.name} of the map: give it one of its own.`;
    throw new ReportingRefusedError([reason]);
  }
  const open = async ([entry, ...rest]: readonly ShardEntry[], before: readonly OpenShard[]): Promise<T> =>
    entry
      ? await withDatabase({ ...settingsOf(place), url: entry.url }, (dataSource) =>
          open(rest, [...before, { entry, dataSource }]),
        )
      : await work(before);
  return await open(shards, []);
}

/** On a session of its own, while nobody else migrates that database or makes it ready for reports. */
export const locked = <T>(
  dataSource: PaymentEventsDataSource,
  { say = toLogger(dataSource) }: ReportingPlace,
  work: (queryRunner: QueryRunner) => Promise<T>,
): Promise<T> => withMigrationLock(dataSource, say, work);

const settingsOf = ({ dataSource }: ReportingPlace): PaymentEventsDataSourceSettings => ({
  applicationName: 'payment-events-db reporting',
  poolSize: 2,
  ...dataSource,
});

async function withDatabase<T>(
  settings: PaymentEventsDataSourceSettings,
  work: (dataSource: PaymentEventsDataSource) => Promise<T>,
): Promise<T> {
  const dataSource = await new PaymentEventsDataSource(createDataSourceOptions(settings)).initialize();
  try {
    return await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

function addressOf(url: string): string {
  const { host, port, database } = databaseAddress(url);
  return `${host}:${port}/${database}`;
}
