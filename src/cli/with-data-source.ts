import pc from 'picocolors';
import { type Config } from '../config';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { databaseAddress } from '../database/database-address';
import { DEFAULT_SCHEMA } from '../database/pinned-schema';
import { RedactingLogger } from '../database/redacting-logger';

/**
 * Opens the database for one command and closes it whatever happens.
 *
 * @param isSilent does not say where it works. Default: where JSON is asked for
 */
export async function withDataSource(
  config: Config,
  work: (dataSource: PaymentEventsDataSource) => Promise<void>,
  { isSilent = process.argv.includes('--json') } = {},
): Promise<void> {
  const dataSource = new PaymentEventsDataSource(
    createDataSourceOptions({
      applicationName: 'payment-events-db command line',
      ...config.dataSource,
      logger: new SilentLogger(),
    }),
  );
  await dataSource.initialize();
  if (!isSilent) sayWhere(config);
  try {
    await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

/** Before anything else, so that nobody looks at one schema and works in another. */
function sayWhere({ databaseUrl, dataSource: { schema = DEFAULT_SCHEMA } }: Config): void {
  const { database, host, port } = databaseAddress(databaseUrl);
  console.error(pc.dim(`Schema ${schema} of ${database} at ${host}:${port}`));
}

/** Commands say themselves how far a migration is, and which statement failed: last, since it may be long. */
export class SilentLogger extends RedactingLogger {
  override logQueryError(): void {}
  override logSchemaBuild(): void {}
  override logMigration(): void {}
}
