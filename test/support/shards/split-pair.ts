import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { inClass } from '../../../src/fence/fence-sql';
import { type ShardMap } from '../../../src/shards/shard-map';
import { ShardSplit } from '../../../src/shards/split/shard-split';
import { createTemplateDatabase, createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../../src/testing';
import { UNSAFE_BUT_FAST } from '../../../src/testing/embedded-server';
import { type PostgresVersion } from '../../../src/testing/postgres-binaries';
import { OBJECTS } from '../../../src/schema/objects';
import { quietDataSource } from '../database/quiet-data-source';
import { EVEN, mapOf, ODD, WHOLE } from './shards';

const TEMPLATE = 'split_template';

/** A server that replicates logically, with a migrated template. */
export class SplitServer {
  readonly #folder: TemporaryDirectory;

  private constructor(
    folder: TemporaryDirectory,
    readonly server: EmbeddedServer,
  ) {
    this.#folder = folder;
  }

  static async start(version?: PostgresVersion, more: Readonly<Record<string, string>> = {}): Promise<SplitServer> {
    const folder = new TemporaryDirectory();
    const settings = { ...UNSAFE_BUT_FAST, wal_level: 'logical', max_logical_replication_workers: '12', ...more };
    const server = await EmbeddedServer.start({
      ...{ dataDirectory: folder.dataDirectory, settings, password: 'not to be seen' },
      ...(version && { version }),
    });
    await createTemplateDatabase(server.url, TEMPLATE);
    return new SplitServer(folder, server);
  }

  async database(): Promise<string> {
    return (await createTestDatabase(this.server.url, { template: TEMPLATE })).url;
  }

  async empty(): Promise<string> {
    return (await createTestDatabase(this.server.url)).url;
  }

  get log(): string {
    return readFileSync(join(this.server.dataDirectory, 'server.log'), 'utf8');
  }

  async remove(): Promise<void> {
    await this.#folder.remove();
  }
}

/** A database with all restaurants, and an empty one for half of them. */
export class SplitPair {
  readonly said: string[] = [];
  readonly split: ShardSplit;

  private constructor(
    readonly urls: { readonly source: string; readonly target: string },
    readonly source: PaymentEventsDataSource,
    readonly target: PaymentEventsDataSource,
  ) {
    this.split = this.splitWith({});
  }

  static async between(from: SplitServer, to: SplitServer): Promise<SplitPair> {
    return await SplitPair.of({ source: await from.database(), target: await to.database() });
  }

  static async of(urls: { source: string; target: string }): Promise<SplitPair> {
    const [source, target] = await Promise.all([urls.source, urls.target].map((url) => quietDataSource({ url })));
    return new SplitPair(urls, source!, target!);
  }

  splitWith(changes: Partial<ConstructorParameters<typeof ShardSplit>[0]>): ShardSplit {
    const { source, target } = this;
    const say = (message: string) => void this.said.push(message);
    return new ShardSplit({ source, target, shard: WHOLE, number: 1, say, ...changes });
  }

  get oldMap(): ShardMap {
    return mapOf(1, { a: { ...WHOLE, url: this.urls.source } });
  }

  get newMap(): ShardMap {
    return mapOf(2, { a: { ...EVEN, url: this.urls.source }, b: { ...ODD, url: this.urls.target } });
  }

  /** Every value of the rows that move, as the source has them, and all that the target has. */
  async rows(): Promise<{ source: Record<string, unknown>; target: Record<string, unknown> }> {
    const read = async (dataSource: PaymentEventsDataSource, ofClass: string) => {
      const rows: Record<string, unknown> = {};
      for (const table of OBJECTS.tables) {
        const where = table === 'processors' || table === 'data_keys' ? 'true' : ofClass;
        rows[table] = await dataSource.query(
          `SELECT to_jsonb(t) AS row FROM ${table} AS t WHERE ${where} ORDER BY to_jsonb(t)::text`,
        );
      }
      return rows;
    };
    return { source: await read(this.source, inClass(ODD)), target: await read(this.target, 'true') };
  }

  async end(): Promise<void> {
    for (const dataSource of [this.source, this.target]) if (dataSource.isInitialized) await dataSource.destroy();
  }
}
