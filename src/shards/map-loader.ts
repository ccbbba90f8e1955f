import { readShardMap, type ShardMap, type ShardMapSource } from './shard-map';

/** Loads the map from its source, one load at a time, however many ask. */
export class MapLoader {
  readonly #source: ShardMapSource;
  #running: Promise<ShardMap> | undefined;
  #next: Promise<ShardMap> | undefined;

  constructor(source: ShardMapSource) {
    this.#source = source;
  }

  /** The load that is under way, if there is one: it may have read what was there before the caller asked. */
  get running(): Promise<ShardMap> | undefined {
    return this.#running;
  }

  /** A load that begins after the call: it waits for the one under way, and is one for all who wait with it. */
  load(): Promise<ShardMap> {
    if (!this.#running) return this.#begin();
    return (this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    ));
  }

  #begin(): Promise<ShardMap> {
    this.#next = undefined;
    // Whatever the source gives, or throws before it gives anything.
    const running = (async () => readShardMap(await this.#source.load()))();
    this.#running = running;
    const end = () => {
      if (this.#running === running) this.#running = undefined;
    };
    running.then(end, end);
    return running;
  }
}
