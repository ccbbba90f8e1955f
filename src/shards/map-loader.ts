import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError } from '../errors';
import { readShardMap, type ShardMap, type ShardMapSource } from './shard-map';

/** A source that does not answer must not keep calls waiting for ever. */
const LONGEST_LOAD_MS = 10_000;

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

  async #loadInTime(): Promise<ShardMap> {
    const answered = new AbortController();
    const late = sleep(LONGEST_LOAD_MS, undefined, { signal: answered.signal, ref: false }).then(() => {
      throw new ConfigurationError(`Shard map: its source has not answered for ${LONGEST_LOAD_MS / 1_000} seconds.`);
    });
    late.catch(() => undefined);
    try {
      return readShardMap(await Promise.race([this.#source.load(), late]));
    } finally {
      answered.abort();
    }
  }

  #begin(): Promise<ShardMap> {
    this.#next = undefined;
    const running = this.#loadInTime();
    this.#running = running;
    const end = () => {
      if (this.#running === running) this.#running = undefined;
    };
    running.then(end, end);
    return running;
  }
}
