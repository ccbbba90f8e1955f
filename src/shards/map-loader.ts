import { inTime } from '../database/in-time';
import { ConfigurationError } from '../errors';
import { readShardMap, type ShardMap, type ShardMapSource } from './shard-map';

/** A source that does not answer must not keep calls waiting for ever. */
export const LONGEST_LOAD_MS = 10_000;

/** Loads the map from its source, one load at a time, however many ask. */
export class MapLoader {
  readonly #source: ShardMapSource;
  #running: Promise<ShardMap> | undefined;
  #next: Promise<ShardMap> | undefined;
  #isAway = false;

  constructor(source: ShardMapSource) {
    this.#source = source;
  }

  /** The load that is under way, if there is one: it may have read what was there before the caller asked. */
  get running(): Promise<ShardMap> | undefined {
    return this.#running;
  }

  /** The load that ended last has failed. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** A load that begins after the call: it waits for the one under way, and is one for all who wait with it. */
  load(): Promise<ShardMap> {
    if (!this.#running) return this.#begin();
    return (this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    ));
  }

  async #loadInTime(): Promise<ShardMap> {
    return readShardMap(await inTime(this.#source.load(), LONGEST_LOAD_MS, () => refuse(LONGEST_LOAD_MS)));
  }

  #begin(): Promise<ShardMap> {
    this.#next = undefined;
    const running = this.#loadInTime();
    this.#running = running;
    const end = (isAway: boolean) => {
      this.#isAway = isAway;
      if (this.#running === running) this.#running = undefined;
    };
    running.then(
      () => end(false),
      () => end(true),
    );
    return running;
  }
}

/** @throws ConfigurationError */
export function refuse(afterMs: number): never {
  throw new ConfigurationError(`Shard map: its source has not answered for ${afterMs / 1_000} seconds.`);
}
