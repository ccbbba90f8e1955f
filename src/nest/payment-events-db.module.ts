import { type DynamicModule, type InjectionToken, Module } from '@nestjs/common';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { type DataSource } from 'typeorm';
import { AuthRequests } from '../auth-requests/auth-requests';
import { Holds } from '../auth-requests/holds/holds';
import { RestaurantPaymentConfigs } from '../configs/restaurant-payment-configs';
import { PaymentEventsDataSource } from '../data-source';
import { entities } from '../entities';
import { EventStore } from '../event-store/event-store';
import { IdempotencyKeys } from '../idempotency/idempotency-keys';
import { ProcessingLocks } from '../locks/processing-locks';
import { Outbox } from '../outbox/outbox';
import { OutboxRelay } from '../outbox/outbox-relay';
import { ReadModel } from '../read-model/read-model';
import { Sweeper } from '../sweeper/sweeper';
import { validateSettings } from '../validation/validate-options';
import { BackgroundWork } from './background-work';
import {
  type ModulePlacement,
  type PaymentEventsDbModuleAsyncOptions,
  PaymentEventsDbModuleOptions,
  type ShardsModuleAsyncOptions,
  type ShardsModuleOptions,
} from './module-options';
import { openDataSource, toTypeOrmOptions } from './open-data-source';
import { PaymentEventsDbHealth } from './payment-events-db.health';
import { shardsModule } from './shards-module';

/** Each is made of the DataSource alone. */
const OPERATIONS = [
  AuthRequests,
  EventStore,
  Holds,
  IdempotencyKeys,
  Outbox,
  PaymentEventsDbHealth,
  ProcessingLocks,
  ReadModel,
];

/** The options have a module of their own, since Nest's TypeORM module needs them as well. */
@Module({})
class OptionsModule {}

/**
 * The database in a NestJS application: the DataSource, opened through `@nestjs/typeorm` and closed with the application; a
 * repository of each entity; and to inject, `PaymentEventsDataSource`, every class of operations, {@link PaymentEventsDbHealth},
 * and the `OutboxRelay`, `Sweeper` and `RestaurantPaymentConfigs` of the options, each undefined where there is none.
 *
 * It never runs migrations, and the application does not start where some are pending or half applied. What may pass by
 * itself, such as a server that starts up, is tried again (`connectAttempts`); anything else ends the start at once, and no
 * connection stays open. Logs go through Nest's `Logger`.
 *
 * Relay and sweeper start when the application has, and stop before its connections are closed: also at SIGTERM, where
 * `app.enableShutdownHooks()` was called.
 *
 * @example
 * const database = PaymentEventsDbModule.forRoot({ relay: { publishers: publisher } }); // among the imports of a module
 */
@Module({})
export class PaymentEventsDbModule {
  /** With options that are known before the application starts. Without any, the environment says where the database is. */
  static forRoot(options: PaymentEventsDbModuleOptions & ModulePlacement = {}): DynamicModule {
    const { dataSourceName, isGlobal, ...rest } = options;
    return PaymentEventsDbModule.forRootAsync({ dataSourceName, isGlobal, useFactory: () => rest });
  }

  /**
   * Several databases, each with its own restaurants: gives `Shards` and `ShardsHealth` to inject, and runs a relay and a
   * sweeper for each database where the options say so. The application starts although a database is away, which is opened
   * when it is back. It does not start where one that answers lacks migrations or its fence.
   *
   * @example
   * const databases = PaymentEventsDbModule.forShards({ shards: shardMapFile('/etc/payments/shards.json') });
   */
  static forShards(options: ShardsModuleOptions & Pick<ModulePlacement, 'isGlobal'> = {}): DynamicModule {
    const { isGlobal, ...rest } = options;
    return PaymentEventsDbModule.forShardsAsync({ isGlobal, useFactory: () => rest });
  }

  /** The same with options that a factory makes when the application starts. */
  static forShardsAsync(options: ShardsModuleAsyncOptions): DynamicModule {
    return shardsModule(PaymentEventsDbModule, options);
  }

  /** With options that a factory makes when the application starts, of a ConfigService for one. */
  static forRootAsync(options: PaymentEventsDbModuleAsyncOptions): DynamicModule {
    const { dataSourceName: name, isGlobal = true, imports = [], inject = [], useFactory } = options;
    const optionsModule: DynamicModule = {
      module: OptionsModule,
      imports,
      providers: [
        {
          provide: PaymentEventsDbModuleOptions,
          inject,
          useFactory: async (...injected: unknown[]) =>
            validateSettings({ PaymentEventsDbModuleOptions }, await useFactory(...injected)),
        },
      ],
      exports: [PaymentEventsDbModuleOptions],
    };
    const typeOrmModule = TypeOrmModule.forRootAsync({
      name,
      imports: [optionsModule],
      inject: [PaymentEventsDbModuleOptions],
      useFactory: toTypeOrmOptions,
      dataSourceFactory: (typeOrmOptions) => openDataSource(typeOrmOptions!),
    });
    const token = getDataSourceToken(name);
    const shared = [
      { provide: PaymentEventsDataSource, useExisting: token as InjectionToken },
      ...OPERATIONS.map((Operation) => ({
        provide: Operation,
        inject: [token],
        useFactory: (dataSource: DataSource) => new Operation(dataSource),
      })),
      {
        provide: RestaurantPaymentConfigs,
        inject: [token, PaymentEventsDbModuleOptions],
        useFactory: (dataSource: DataSource, { configs }: PaymentEventsDbModuleOptions) =>
          configs && new RestaurantPaymentConfigs(dataSource, configs),
      },
      { provide: OutboxRelay, inject: [BackgroundWork], useFactory: ({ relay }: BackgroundWork) => relay },
      { provide: Sweeper, inject: [BackgroundWork], useFactory: ({ sweeper }: BackgroundWork) => sweeper },
    ];
    const backgroundWork = {
      provide: BackgroundWork,
      inject: [token, PaymentEventsDbModuleOptions],
      useFactory: (dataSource: DataSource, given: PaymentEventsDbModuleOptions) =>
        new BackgroundWork(dataSource, given),
    };
    return {
      module: PaymentEventsDbModule,
      global: isGlobal,
      imports: [optionsModule, typeOrmModule, TypeOrmModule.forFeature(entities, name)],
      providers: [backgroundWork, ...shared],
      exports: [TypeOrmModule, ...shared.map(({ provide }) => provide)],
    };
  }
}
