import { Logger } from '@nestjs/common';
import { type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { type DataSourceOptions } from 'typeorm';
import { readConfig } from '../config';
import { RestaurantPaymentConfigs } from '../configs/restaurant-payment-configs';
import { type PaymentEventsDataSourceSettings, type PostgresOptions } from '../connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { RedactingLogger } from '../database/redacting-logger';
import { translateError } from '../database/translate-error';
import { PaymentEventsDbError } from '../errors';
import { assertNonePending, readHistory } from '../migrator/history';
import { BackgroundWork } from './background-work';
import { type PaymentEventsDbModuleOptions } from './module-options';

/**
 * What Nest's TypeORM module opens the DataSource with. All that is wrong with the options is told here: once connections
 * are open, an error of another provider would leave them so.
 *
 * @throws ConfigurationError
 */
export function toTypeOrmOptions(options: PaymentEventsDbModuleOptions): TypeOrmModuleOptions {
  const { connectAttempts = 10, connectRetryDelayMs = 3_000 } = options;
  const settings: PaymentEventsDataSourceSettings = options.dataSource ?? readConfig().dataSource;
  const logger = settings.logger ?? new RedactingLogger(new Logger('PaymentEventsDataSource'));
  const typeOrmOptions = createDataSourceOptions({ ...settings, logger });
  const dataSource = new PaymentEventsDataSource(typeOrmOptions);
  new BackgroundWork(dataSource, options);
  if (options.configs) new RestaurantPaymentConfigs(dataSource, options.configs);
  return {
    ...typeOrmOptions,
    retryAttempts: connectAttempts,
    retryDelay: connectRetryDelayMs,
    toRetry: (error: unknown) => error instanceof PaymentEventsDbError && error.retryable,
  };
}

/**
 * Opens it, where its migrations are there: it never runs them. Whatever it throws, no connection stays open.
 *
 * @throws PendingMigrationsError, HalfAppliedError and what else `translateError` makes of what stopped it
 */
export async function openDataSource(options: DataSourceOptions): Promise<PaymentEventsDataSource> {
  const dataSource = new PaymentEventsDataSource(options as PostgresOptions);
  try {
    await dataSource.initialize();
    assertNonePending(await readHistory(dataSource));
    return dataSource;
  } catch (error) {
    if (dataSource.isInitialized) await dataSource.destroy();
    throw translateError(error);
  }
}
