import { IsOptional } from 'class-validator';
import { type PaymentConfigsOptions } from '../configs/restaurant-payment-configs';
import { type PaymentEventsDataSourceSettings } from '../connection/data-source-settings';
import { Callable, PlainObject } from '../validation/option-rules';
import { LONGEST_TIMER_MS, WholeNumber } from '../validation/rules';

/** How `Shards` looks at its map, and what opens the secrets of restaurants' configurations. */
export class ShardsOptions {
  /**
   * A map that is older is loaded again before the next call, in milliseconds: 0 to about 25 days. The call waits for it a quarter
   * of a second at most, and then goes on with the one in use. A write with an old map is refused, a read is not: for as long as this it may find a request as it was when its
   * restaurant moved. 0: the map is loaded by `reload` alone, and by `run` after a refusal or where something is missing. Default 5,000.
   */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  reloadEveryMs?: number;

  /** Told what kept the map from being loaded for a call, which goes on with the one in use. Default: nobody is told. */
  @IsOptional()
  @Callable()
  onReloadFailed?: (error: unknown) => void;

  /**
   * Opens and seals the secrets of restaurants' configurations: each `Shard` has `configs` then. The key-encryption keys are those
   * of all databases; data keys, and what `cacheTtlMs` keeps, belong to one. A process with an old map may be given a version
   * that was switched off after its restaurant had moved, for `reloadEveryMs` or `cacheTtlMs`, whichever is longer. Default: none.
   */
  @IsOptional()
  @PlainObject()
  configs?: PaymentConfigsOptions;
}

/** The same, and what the DataSources of all shards have in common. Where each database is, the map says. */
export type ShardsSettings = Readonly<
  ShardsOptions & Omit<PaymentEventsDataSourceSettings, 'url' | 'host' | 'port' | 'database' | 'user'>
>;
