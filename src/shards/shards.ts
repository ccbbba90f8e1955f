import { PaymentConfigsOptions } from '../configs/restaurant-payment-configs';
import { type PostgresOptions } from '../connection/data-source-settings';
import { createDataSourceOptions } from '../data-source';
import { inTime } from '../database/in-time';
import { translateError } from '../database/translate-error';
import {
  AuthRequestNotFoundError,
  ConfigurationError,
  DataSourceNotOpenError,
  HoldNotFoundError,
  InvalidCommandError,
  LockLostError,
  WrongShardError,
} from '../errors';
import { isUuid } from '../validation/rules';
import { AllShards, type Answers } from './all-shards';
import { validateSettings } from '../validation/validate-options';
import { assertFence, assertSameHash } from './assert-shard';
import { fanOut, type Fanned } from './fan-out';
import { LONGEST_LOAD_MS, MapLoader, refuse } from './map-loader';
import { type Shard, shardOf } from './shard';
import { ShardsOptions, type ShardsSettings } from './shards-settings';
import { ShardDatabase } from './shard-database';
import { entryOf, type ShardEntry, type ShardMap, type ShardMapSource } from './shard-map';

/** A map and what was opened by it. */
interface InForce {
  readonly map: ShardMap;
  /** By the URL. */
  readonly databases: ReadonlyMap<string, ShardDatabase>;
  /** By the name. A failure is not kept. */
  readonly shards: Map<string, Promise<Shard>>;
}

/** For how long a call waits for a map that it can do without. */
const PATIENCE_MS = 250;

/** For how long a refusal waits for a source that has failed the last time. */
const AWAY_MS = 1_000;

/** A map that was loaded so lately knows of a missing request or hold: a split removes them long after the map has changed. */
const NEW_MS = 1_000;

/**
 * Several databases, each with the requests of its own restaurants: see docs/explanation/scale.md. An operation concerns one
 * restaurant, and so one database, where it is what it is with one database alone.
 *
 * Each database has connections of its own, which are opened when somebody needs them: `poolSize` counts for each. One that is
 * away stops its own restaurants and no other.
 *
 * @example
 * const shards = await new Shards(shardMapFromEnvironment()).open();
 * const { authRequestId } = await shards.run(restaurantId, ({ requests }) => requests.authorize(command));
 */
export class Shards {
  readonly #settings: Omit<ShardsSettings, keyof ShardsOptions>;
  readonly #reloadEveryMs: number;
  readonly #onReloadFailed: ShardsOptions['onReloadFailed'];
  readonly #configs: PaymentConfigsOptions | undefined;
  readonly #loader: MapLoader;
  /** Databases that the map has no more, until they are closed. */
  readonly #leaving = new Set<ShardDatabase>();
  #inForce: InForce | undefined;
  #loadedAt = -Infinity;
  #refreshing: Promise<void> | undefined;
  #isDestroyed = false;

  /** @throws ConfigurationError naming each setting that is wrong */
  constructor(source: ShardMapSource, { reloadEveryMs, onReloadFailed, configs, ...settings }: ShardsSettings = {}) {
    const options = validateSettings({ ShardsOptions }, { reloadEveryMs, onReloadFailed, configs });
    this.#reloadEveryMs = options.reloadEveryMs ?? 5_000;
    this.#onReloadFailed = options.onReloadFailed;
    this.#configs = options.configs && validateSettings({ PaymentConfigsOptions }, options.configs);
    this.#settings = settings;
    this.#optionsOf('postgresql://localhost/any');
    this.#loader = new MapLoader(source);
  }

  /**
   * Loads the map. No database is connected to: one that is away does not stop a start.
   *
   * @throws ConfigurationError it is no map, or settings contradict it; what the source throws
   */
  async open(): Promise<this> {
    await this.reload();
    return this;
  }

  /** The map in use. Holds URLs: not for logs. @throws DataSourceNotOpenError */
  get map(): ShardMap {
    return this.#current().map;
  }

  /**
   * The database of a restaurant, open. Ask for it each time: after a reload of the map it may be another one, and a
   * database that the map has no more is closed when it has been quiet for a second.
   *
   * @throws DatabaseUnavailableError it is away; ConfigurationError, WrongShardError it is not what the map says
   * @throws InvalidCommandError the id is not a UUID
   */
  async of(restaurantId: string): Promise<Shard> {
    const current = await this.#newEnough();
    return await this.#shard(current, placeOf(current.map, restaurantId));
  }

  /**
   * Does something at the database of a restaurant. Where that refuses the restaurant, since it has moved, or does not find the
   * request, hold or lease there, the map is reloaded, and where it names another database now the work is done once more at that one. The
   * statement that was refused has written nothing; the work is one operation, or something that may be repeated.
   *
   * A source that hangs keeps what is missing waiting for a quarter of a second, and a refusal for ten seconds; once it has failed, not at all, and for one.
   * For a request or a hold that is missing a map that is less than a second old counts as new. For a lease none does, and each waits
   * for a quarter of a second: a split takes it away before the map changes, and what is to be recorded may be a processor's answer.
   *
   * @throws WrongShardError the map still names the database that has refused: a split is about to change it. Try again
   * @throws what the work throws, and {@link of}
   *
   * @example
   * const receipt = await shards.run(restaurantId, ({ requests }) => requests.requestVoid(command));
   */
  async run<T>(restaurantId: string, work: (shard: Shard) => Promise<T>): Promise<T> {
    const used = await this.#newEnough();
    const entry = placeOf(used.map, restaurantId);
    try {
      return await this.#runAt(used, entry, work);
    } catch (error) {
      // A repository of TypeORM throws the database's refusal as it was said.
      const told = translateError(error);
      if (!MAY_HAVE_MOVED.some((type) => told instanceof type)) throw error;
      const current = await this.#mapAfter(told, used);
      const newer = entryOf(current.map, restaurantId);
      if (newer.url === entry.url) throw error;
      return await this.#runAt(current, newer, work);
    }
  }

  /**
   * Does something at every database at once.
   *
   * @throws InvalidCommandError, and what is no error of this package, when all have ended
   *
   * @example
   * const { results, away } = await shards.each(({ outbox }) => outbox.stats());
   */
  async each<T>(work: (shard: Shard) => Promise<T>): Promise<Fanned<T>> {
    const { results, away } = await this.#ask(work);
    return { results, away };
  }

  /** What names no restaurant, of all databases at once. */
  all(): AllShards {
    return new AllShards(
      (work) => this.#ask(work),
      () => {
        const current = this.#current();
        return current.map.shards.map((entry) => ({
          name: entry.name,
          class: entry,
          open: () => this.#shard(current, entry),
        }));
      },
    );
  }

  /**
   * Loads the map now. Calls at the same time share one load, and a map that is not newer than the one in use changes
   * nothing. Databases that it does not have are closed when the calls on them have ended.
   *
   * @returns the map in use from now on
   * @throws ConfigurationError, and what the source throws: the map in use stays
   */
  async reload(): Promise<ShardMap> {
    return this.#adopt(await this.#loader.load()).map;
  }

  /** Closes every database, also one that is being opened, as `destroy` of a DataSource does. It stays closed. */
  async destroy(): Promise<void> {
    this.#isDestroyed = true;
    const databases = [...(this.#inForce?.databases.values() ?? []), ...this.#leaving];
    const opening = [...(this.#inForce?.shards.values() ?? [])];
    this.#inForce = undefined;
    await Promise.allSettled(opening);
    await Promise.all(databases.map((database) => database.close()));
  }

  async #ask<T>(work: (shard: Shard) => Promise<T>): Promise<Answers<T>> {
    const current = await this.#newEnough();
    const { shards } = current.map;
    return { ...(await fanOut(shards, (entry) => this.#runAt(current, entry, work))), asked: shards };
  }

  async #runAt<T>(current: InForce, entry: ShardEntry, work: (shard: Shard) => Promise<T>): Promise<T> {
    return await current.databases.get(entry.url)!.use(async () => await work(await this.#shard(current, entry)));
  }

  async #shard({ databases, shards }: InForce, entry: ShardEntry): Promise<Shard> {
    let shard = shards.get(entry.name);
    if (!shard) {
      shard = this.#open(databases.get(entry.url)!, entry);
      shards.set(entry.name, shard);
      shard.catch(() => shards.delete(entry.name));
    }
    return await shard;
  }

  async #open(database: ShardDatabase, entry: ShardEntry): Promise<Shard> {
    const opened = await database.open();
    try {
      await assertSameHash(opened.dataSource);
      await assertFence(opened.dataSource, entry);
    } catch (error) {
      throw translateError(error);
    }
    return shardOf(entry, opened);
  }

  /** The map, where it is newer than the one in use; and in any case what is in use from now on. */
  #adopt(map: ShardMap): InForce {
    if (this.#isDestroyed) throw new DataSourceNotOpenError();
    this.#loadedAt = performance.now();
    const before = this.#inForce;
    if (before && before.map.version >= map.version) return before;
    const databases = new Map(
      map.shards.map((entry) => [entry.url, before?.databases.get(entry.url) ?? this.#databaseOf(entry)]),
    );
    this.#inForce = { map, databases, shards: new Map() };
    for (const [url, database] of before?.databases ?? []) if (!databases.has(url)) this.#leave(database);
    return this.#inForce;
  }

  #leave(database: ShardDatabase): void {
    this.#leaving.add(database);
    // What its connections say when they are closed is nobody's concern any more.
    const end = () => this.#leaving.delete(database);
    database.closeWhenQuiet().then(end, end);
  }

  #databaseOf({ name, url }: ShardEntry): ShardDatabase {
    try {
      return new ShardDatabase(this.#optionsOf(url), this.#configs);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      throw new ConfigurationError(`Shard ${name}: ${error.message}`);
    }
  }

  #optionsOf(url: string): PostgresOptions {
    return createDataSourceOptions({ ...this.#settings, url });
  }

  #current(): InForce {
    if (!this.#inForce) throw new DataSourceNotOpenError();
    return this.#inForce;
  }

  /** The map in use, which is loaded again first where that was too long ago. */
  async #newEnough(): Promise<InForce> {
    return this.#reloadEveryMs === 0 ? this.#current() : await this.#notOlderThan(this.#reloadEveryMs);
  }

  async #notOlderThan(ms: number): Promise<InForce> {
    const current = this.#current();
    if (performance.now() - this.#loadedAt < ms) return current;
    this.#refreshing ??= this.#waitFor(this.#refresh());
    await this.#refreshing;
    return this.#current();
  }

  /**
   * For all who come while the map is loaded: together they wait for {@link PATIENCE_MS}, and not at all for a source that gave no
   * answer the last time.
   */
  #waitFor(refresh: Promise<void>): Promise<void> {
    const end = () => (this.#refreshing = undefined);
    refresh.then(end, end);
    return inTime(refresh, this.#loader.isAway ? 0 : PATIENCE_MS, () => undefined);
  }

  /** The map that says whether a restaurant that a database does not have, by what it has told, is in another one. */
  async #mapAfter(told: unknown, used: InForce): Promise<InForce> {
    if (told instanceof WrongShardError) return await this.#newerThan(used);
    try {
      // What is missing is most often nowhere: it neither has the source asked each time, nor waits for one that hangs.
      if (!(told instanceof LockLostError)) return await this.#notOlderThan(NEW_MS);
      await inTime(this.#loadAfter(used), PATIENCE_MS, () => undefined);
      return this.#current();
    } catch {
      return used;
    }
  }

  /** Never rejects. */
  async #refresh(): Promise<void> {
    try {
      await this.reload();
    } catch (error) {
      this.#loadedAt = performance.now();
      this.#onReloadFailed?.(error);
    }
  }

  /**
   * The map that others have loaded since, or are loading; else one that is loaded now.
   *
   * @throws WrongShardError there is none in time
   */
  async #newerThan(used: InForce): Promise<InForce> {
    const ms = this.#loader.isAway ? AWAY_MS : LONGEST_LOAD_MS;
    try {
      await inTime(this.#loadAfter(used), ms, () => refuse(ms));
    } catch (error) {
      throw new WrongShardError(
        'The restaurant is in another database, and the map of shards cannot be reloaded now. Nothing was written.',
        { cause: error },
      );
    }
    return this.#current();
  }

  async #loadAfter(used: InForce): Promise<void> {
    const running = this.#loader.running;
    if (this.#current() === used && running) {
      const loaded = await running.catch(() => undefined);
      if (loaded) this.#adopt(loaded);
    }
    if (this.#current() === used) await this.reload();
  }
}

/** What a database says of a restaurant that it has no more: while its rows are there, and when a split has removed them. */
const MAY_HAVE_MOVED = [WrongShardError, AuthRequestNotFoundError, HoldNotFoundError, LockLostError];

/** @throws InvalidCommandError */
function placeOf(map: ShardMap, restaurantId: string): ShardEntry {
  if (!isUuid(restaurantId)) throw new InvalidCommandError('Shards', ['restaurantId must be a UUID']);
  return entryOf(map, restaurantId);
}
