import { type FactoryProvider, type ModuleMetadata } from '@nestjs/common';
import { IsOptional } from 'class-validator';
import { type PaymentEventsDataSourceSettings } from '../connection/data-source-settings';
import { type PaymentConfigsOptions } from '../configs/restaurant-payment-configs';
import { type Publishers } from '../outbox/delivery';
import { RelayOptions } from '../outbox/outbox-relay';
import { requirePublishers } from '../outbox/require-publishers';
import { type ShardMapSource } from '../shards/shard-map';
import { type ShardsSettings } from '../shards/shards-settings';
import { type SweeperOptions } from '../sweeper/sweeper-options';
import { HasMethods, PlainObject } from '../validation/option-rules';
import { rule } from '../validation/rule';
import { LONGEST_TIMER_MS, WholeNumber } from '../validation/rules';

/** The relay of a `PaymentEventsDbModule`. */
export class ModuleRelayOptions extends RelayOptions {
  /**
   * One publisher for every message, or one a message type. They belong to the module: when the relay has stopped, it calls
   * `close` of those that have it.
   */
  @OneOrByType()
  publishers: Publishers;
}

function OneOrByType(): PropertyDecorator {
  return rule({
    name: 'publishers',
    // Throws where they are not.
    holds: (value) => (requirePublishers(value as Publishers), true),
    message: 'must be a publisher, or an object of publishers by message type',
  });
}

/** What a `PaymentEventsDbModule` is made of. All may be left out. */
export class PaymentEventsDbModuleOptions {
  /** The database. Default: what the environment says, as `readConfig()` reads it. */
  @IsOptional()
  @PlainObject()
  dataSource?: Readonly<PaymentEventsDataSourceSettings>;

  /** Delivers the outbox in this process. Default: none, something else delivers it. */
  @IsOptional()
  @PlainObject()
  relay?: ModuleRelayOptions;

  /** Sends again what got stuck, expires and purges, in this process. `{}` for all defaults. Default: none. */
  @IsOptional()
  @PlainObject()
  sweeper?: SweeperOptions;

  /** Opens the secrets of restaurants' configurations: `RestaurantPaymentConfigs` can be injected then. Default: it cannot. */
  @IsOptional()
  @PlainObject()
  configs?: PaymentConfigsOptions;

  /** How often to connect until the start fails: 1 to 1,000,000. Only what may pass by itself is tried again. Default 10. */
  @IsOptional()
  @WholeNumber(1, 1_000_000)
  connectAttempts?: number;

  /** Pause between two of these, in milliseconds: 0 to about 25 days. Default 3,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  connectRetryDelayMs?: number;
}

/** What a module of several databases is made of. All may be left out. */
export class ShardsModuleOptions {
  /** Where the map is: see `shardMapFile` and the like. Default: what `PAYMENT_EVENTS_DB_SHARDS` says. */
  @IsOptional()
  @HasMethods('a source of a map of shards', 'load')
  shards?: ShardMapSource;

  /** What the DataSources of all have in common. Default: what the environment says, as `readConfig()` reads it. */
  @IsOptional()
  @PlainObject()
  dataSource?: Omit<ShardsSettings, 'configs'>;

  /** Delivers the outbox of each database in this process. Default: none, something else delivers it. */
  @IsOptional()
  @PlainObject()
  relay?: ModuleRelayOptions;

  /** Sends again what got stuck, expires and purges, for each database. `{}` for all defaults. Default: none. */
  @IsOptional()
  @PlainObject()
  sweeper?: SweeperOptions;

  /** Opens the secrets of restaurants' configurations: each database of `Shards` has `configs` then. Default: it has not. */
  @IsOptional()
  @PlainObject()
  configs?: PaymentConfigsOptions;
}

/** What Nest must know before it makes anything. */
export interface ModulePlacement {
  /**
   * The name of the data source, as `@InjectRepository(PaymentEvent, name)` takes it. Needed where the application has several
   * of these databases. Default: none, it is the one without a name.
   */
  readonly dataSourceName?: string;
  /** Whether every module can inject what this one has, without importing it. Default true. */
  readonly isGlobal?: boolean;
}

/** {@link PaymentEventsDbModuleOptions} that a factory makes, of what Nest injects into it. */
export interface PaymentEventsDbModuleAsyncOptions extends ModulePlacement, Pick<ModuleMetadata, 'imports'> {
  /** Providers of `imports`, or of global modules, that the factory is given, in their order. */
  readonly inject?: FactoryProvider['inject'];
  /** Makes the options, when the application starts. */
  // As in Nest: what is injected is known by `inject` alone.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly useFactory: (...injected: any[]) => PaymentEventsDbModuleOptions | Promise<PaymentEventsDbModuleOptions>;
}

/** {@link ShardsModuleOptions} that a factory makes, of what Nest injects into it. */
export interface ShardsModuleAsyncOptions extends Pick<ModulePlacement, 'isGlobal'>, Pick<ModuleMetadata, 'imports'> {
  /** Providers of `imports`, or of global modules, that the factory is given, in their order. */
  readonly inject?: FactoryProvider['inject'];
  /** Makes the options, when the application starts. */
  // As in Nest: what is injected is known by `inject` alone.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly useFactory: (...injected: any[]) => ShardsModuleOptions | Promise<ShardsModuleOptions>;
}
