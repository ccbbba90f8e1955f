import { setTimeout as sleep } from 'node:timers/promises';
import { type PaymentConfigsOptions, RestaurantPaymentConfigs } from '../configs/restaurant-payment-configs';
import { type PostgresOptions } from '../connection/data-source-settings';
import { PaymentEventsDataSource } from '../data-source';
import { masterOf } from '../database/connections';
import { translateError } from '../database/translate-error';
import { DataSourceNotOpenError } from '../errors';

const LOOK_EVERY_MS = 100;
/** Who has been given a shard, and is about to ask something of it, is let finish. */
const QUIET_LOOKS = 10;

/** What stays as long as the connections do, over maps. */
export interface OpenDatabase {
  readonly dataSource: PaymentEventsDataSource;
  /** Keeps data keys and versions of this database alone. */
  readonly configs: RestaurantPaymentConfigs | undefined;
}

/** The connections to one database: opened when somebody needs them, closed when the map no longer has it. */
export class ShardDatabase {
  readonly #options: PostgresOptions;
  readonly #configs: PaymentConfigsOptions | undefined;
  #opening: Promise<OpenDatabase> | undefined;
  #dataSource: PaymentEventsDataSource | undefined;
  #inUse = 0;
  #isClosed = false;

  constructor(options: PostgresOptions, configs?: PaymentConfigsOptions) {
    this.#options = options;
    this.#configs = configs;
  }

  /**
   * Opens it, once for all who ask. A failure is told to them and not kept: who asks next tries again.
   *
   * @throws DataSourceNotOpenError it is closed
   */
  open(): Promise<OpenDatabase> {
    if (this.#isClosed) return Promise.reject(new DataSourceNotOpenError());
    return (this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = undefined;
      throw translateError(error);
    }));
  }

  /** Keeps it from being closed by {@link closeWhenQuiet} until the work has ended. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.#inUse += 1;
    try {
      return await work();
    } finally {
      this.#inUse -= 1;
    }
  }

  /** Closes it when nobody has been at work on it for a second; at once where it has never been opened. */
  async closeWhenQuiet(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_LOOKS && !this.#isClosed && this.#opening;) {
      await sleep(LOOK_EVERY_MS, undefined, { ref: false });
      quiet = this.#isBusy() ? 0 : quiet + 1;
    }
    await this.close();
  }

  /** Closes it, also while it is being opened. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const opened = await this.#opening?.catch(() => undefined);
    this.#opening = undefined;
    if (opened?.dataSource.isInitialized) await opened.dataSource.destroy();
  }

  /** A connection in use is somebody's statement or transaction. */
  #isBusy(): boolean {
    const { totalCount = 0, idleCount = 0, waitingCount = 0 } = (this.#dataSource && masterOf(this.#dataSource)) ?? {};
    return this.#inUse > 0 || waitingCount > 0 || totalCount > idleCount;
  }

  async #connect(): Promise<OpenDatabase> {
    const dataSource = new PaymentEventsDataSource(this.#options);
    const configs = this.#configs && new RestaurantPaymentConfigs(dataSource, this.#configs);
    await dataSource.initialize();
    this.#dataSource = dataSource;
    return { dataSource, configs };
  }
}
