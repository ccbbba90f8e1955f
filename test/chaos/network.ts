import { renameSync, writeFileSync } from 'node:fs';
import { Proxy } from '../support/database/proxy';
import { type WorldDatabase } from './world-database';

/** A process's own way to each database, to be broken, and the map of shards by which it goes. */
export class Network {
  readonly #ways = new Map<WorldDatabase, Proxy>();

  /** @param mapFile where the process reads its map */
  constructor(readonly mapFile: string) {}

  get proxies(): readonly Proxy[] {
    return [...this.#ways.values()];
  }

  /** The database by way of here. */
  async urlOf(database: WorldDatabase): Promise<string> {
    let proxy = this.#ways.get(database);
    if (!proxy) this.#ways.set(database, (proxy = await Proxy.start(database.url)));
    return proxy.url;
  }

  /** The process finds this map from now on, whole, when it reads it again. */
  async publish(version: number, databases: readonly WorldDatabase[]): Promise<void> {
    const shards = [];
    for (const database of databases) shards.push(database.entry(await this.urlOf(database)));
    writeFileSync(`${this.mapFile}.new`, JSON.stringify({ version, shards }));
    renameSync(`${this.mapFile}.new`, this.mapFile);
  }

  /** The database has moved to another server. */
  repoint(database: WorldDatabase): void {
    this.#ways.get(database)?.repoint(database.url);
  }

  async close(): Promise<void> {
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
  }
}
