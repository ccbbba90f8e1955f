import {
  type BeforeApplicationShutdown,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { type DataSource } from 'typeorm';
import { PaymentEventsDbError } from '../errors';
import { type Shards } from '../shards/shards';
import { BackgroundWork, closeAll } from './background-work';
import { type ShardsModuleOptions } from './module-options';

/** How often to look for databases that are back, new or gone. */
const LOOK_EVERY_MS = 1_000;

/**
 * A relay and a sweeper for each database of the map, from the start of the application to its end. Those of a database
 * that is away begin when it is back, those of one that the map has no more end.
 */
export class ShardsWork implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown {
  readonly #logger = new Logger('Shards');
  readonly #shards: Shards;
  readonly #options: ShardsModuleOptions;
  /** By the names of their databases. */
  readonly #works = new Map<string, { readonly dataSource: DataSource; readonly work: BackgroundWork }>();
  /** Stops that have not ended: of a database that hangs they take as long as a statement may. */
  readonly #ending = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(shards: Shards, options: ShardsModuleOptions) {
    this.#shards = shards;
    this.#options = options;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (!this.#options.relay && !this.#options.sweeper) return;
    this.#timer = setInterval(() => void this.#lookOnce(), LOOK_EVERY_MS);
    await this.#lookOnce();
  }

  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    await Promise.all([...this.#ending, ...[...this.#works.values()].map(({ work }) => work.stop())]);
    await closeAll(this.#options.relay?.publishers);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#shards.destroy();
  }

  /** One look at a time: a database that is away takes its time to say so. */
  #lookOnce(): Promise<void> {
    return (this.#looking ??= this.#look()
      // What one look comes to must not end the process, and with it the work at every other database.
      .catch((error: unknown) => this.#logger.error(`The databases could not be looked at: ${inWords(error)}`))
      .finally(() => (this.#looking = undefined)));
  }

  async #look(): Promise<void> {
    const { results } = await this.#shards.each((shard) => Promise.resolve(shard));
    const found = new Map(results.map(({ shard, value }) => [shard, value]));
    const inMap = new Set(this.#shards.map.shards.map(({ name }) => name));
    for (const [name, { dataSource, work }] of this.#works) {
      // One that is away waits by itself.
      if (inMap.has(name) && (found.get(name)?.dataSource ?? dataSource) === dataSource) continue;
      this.#works.delete(name);
      // Not waited for: the database may have another address since it hangs at this one, and two relays of one share the work.
      this.#end(work);
    }
    for (const [name, { dataSource }] of found) {
      if (this.#works.has(name)) continue;
      const work = new BackgroundWork(dataSource, this.#options, name);
      this.#works.set(name, { dataSource, work });
      work.onApplicationBootstrap();
    }
  }

  #end(work: BackgroundWork): void {
    const ending = work
      .stop()
      .catch((error: unknown) => this.#logger.error(`The work at a database did not end well: ${inWords(error)}`))
      .finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}

/** Only what we say ourselves: another error may quote what it was about. */
const inWords = (error: unknown): string =>
  error instanceof PaymentEventsDbError ? error.message : (error as Error).name;
