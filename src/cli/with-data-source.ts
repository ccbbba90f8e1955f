import { type Config } from '../config';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { RedactingLogger } from '../redacting-logger';

/** Opens the database for one command and closes it whatever happens. */
export async function withDataSource(
  config: Config,
  work: (dataSource: PaymentEventsDataSource) => Promise<void>,
): Promise<void> {
  const dataSource = new PaymentEventsDataSource(
    createDataSourceOptions({
      applicationName: 'payment-events-db command line',
      ...config.dataSource,
      logger: new FailuresOnlyLogger(),
    }),
  );
  await dataSource.initialize();
  try {
    await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

/** Commands say themselves how far a migration is. */
class FailuresOnlyLogger extends RedactingLogger {
  override logSchemaBuild(): void {}
  override logMigration(): void {}
}
