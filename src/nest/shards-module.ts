import { type DynamicModule, Logger, type Type } from '@nestjs/common';
import { readConfig } from '../config';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { RedactingLogger } from '../database/redacting-logger';
import { assertNonePending, readHistory } from '../migrator/history';
import { shardMapFromEnvironment } from '../shards/map-sources';
import { Shards } from '../shards/shards';
import { type ShardsSettings } from '../shards/shards-settings';
import { validateSettings } from '../validation/validate-options';
import { BackgroundWork } from './background-work';
import { textOf } from './log-hooks';
import { type ShardsModuleAsyncOptions, ShardsModuleOptions } from './module-options';
import { ShardsHealth } from './shards.health';
import { ShardsWork } from './shards-work';

const ANYWHERE = 'postgresql://localhost/any';

/** What `forShardsAsync` of a module is. */
export function shardsModule(module: Type, options: ShardsModuleAsyncOptions): DynamicModule {
  const { isGlobal = true, imports = [], inject = [], useFactory } = options;
  const shared = [
    { provide: Shards, inject: [ShardsModuleOptions], useFactory: openShards },
    { provide: ShardsHealth, inject: [Shards], useFactory: (shards: Shards) => new ShardsHealth(shards) },
  ];
  return {
    module,
    global: isGlobal,
    imports,
    providers: [
      {
        provide: ShardsModuleOptions,
        inject,
        useFactory: async (...injected: unknown[]) =>
          validateSettings({ ShardsModuleOptions }, await useFactory(...injected)),
      },
      {
        provide: ShardsWork,
        inject: [Shards, ShardsModuleOptions],
        useFactory: (shards: Shards, given: ShardsModuleOptions) => new ShardsWork(shards, given),
      },
      ...shared,
    ],
    exports: shared.map(({ provide }) => provide),
  };
}

/**
 * Opens every database that answers, where its migrations are there. One that is away is opened when it is back.
 *
 * @throws ConfigurationError; PendingMigrationsError, HalfAppliedError and what else does not pass by itself. No connection
 *   stays open
 */
async function openShards(options: ShardsModuleOptions): Promise<Shards> {
  const logger = new Logger('Shards');
  const settings: ShardsSettings = options.dataSource ?? settingsOfEnvironment();
  const typeOrmLogger = settings.logger ?? new RedactingLogger(new Logger('PaymentEventsDataSource'));
  const shards = new Shards(options.shards ?? shardMapFromEnvironment(), {
    onReloadFailed: (error) => logger.warn(`The map could not be loaded, and stays: ${textOf(error)}`),
    configs: options.configs,
    ...settings,
    logger: typeOrmLogger,
  });
  // All that is wrong with the options is told before anything is open.
  new BackgroundWork(new PaymentEventsDataSource(createDataSourceOptions({ url: ANYWHERE })), options);
  try {
    await shards.open();
    const { away } = await shards.each(async ({ dataSource }) => assertNonePending(await readHistory(dataSource)));
    for (const { shard, error } of away) {
      if (!error.retryable) throw error;
      logger.warn(`Shard ${shard} is away: ${error.message}`);
    }
    return shards;
  } catch (error) {
    await shards.destroy();
    throw error;
  }
}

/** All but where the database is, which the map says. */
function settingsOfEnvironment(): ShardsSettings {
  return { ...readConfig({ ...process.env, DATABASE_URL: ANYWHERE }).dataSource, ...{ url: undefined } };
}
