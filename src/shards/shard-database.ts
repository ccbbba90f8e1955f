import { setTimeout as sleep } from 'node:timers/promises';
import { type PostgresOptions } from '../connection/data-source-settings';
import { PaymentEventsDataSource } from '../data-source';
import { masterOf } from '../database/connections';
import { translateError } from '../database/translate-error';
import { DataSourceNotOpenError } from '../errors';

const LOOK_EVERY_MS = 100;
/** Who has been given a shard, and is about to ask something of it, is let finish. */
const QUIET_LOOKS = 10;

/** The connections to one database: opened when somebody needs them, closed when the map no longer has it. */
export class ShardDatabase {
  readonly #options: PostgresOptions;
  #opening: Promise<PaymentEventsDataSource> | undefined;
  #dataSource: PaymentEventsDataSource | undefined;
  #inUse = 0;
  #isClosed = false;

  constructor(options: PostgresOptions) {
    this.#options = options;
  }

  /**
   * Opens it, once for all who ask. A failure is told to them and not kept: who asks next tries again.
   *
   * @throws DataSourceNotOpenError it is closed
   */
  open(): Promise<PaymentEventsDataSource> {
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
    const dataSource = await this.#opening?.catch(() => undefined);
    this.#opening = undefined;
    if (dataSource?.isInitialized) await dataSource.destroy();
  }

  /** A connection in use is somebody's statement or transaction. */
  #isBusy(): boolean {
    const { totalCount = 0, idleCount = 0, waitingCount = 0 } = (this.#dataSource && masterOf(this.#dataSource)) ?? {};
    return this.#inUse > 0 || waitingCount > 0 || totalCount > idleCount;
  }

  async #connect(): Promise<PaymentEventsDataSource> {
    const dataSource = new PaymentEventsDataSource(this.#options);
    await dataSource.initialize();
    return (this.#dataSource = dataSource);
  }
}
