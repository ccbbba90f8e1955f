import { Pool } from 'pg';
import { inClass } from '../../src/fence/fence-sql';
import { type ResidueClass } from '../../src/fence/residue';
import { type ShardEntry } from '../../src/shards/shard-map';
import { createTestDatabase, databaseUrl, type EmbeddedServer } from '../../src/testing';

/** What keeps a database. */
export interface Servers {
  /** The one that takes writes. */
  readonly writable: EmbeddedServer;
  remove(): Promise<void>;
}

/** A database on servers of its own, seen past all networks that fail. */
export class WorldDatabase<S extends Servers = Servers> {
  #pool: Pool | undefined;

  private constructor(
    readonly servers: S,
    private readonly database: string,
    readonly name: string,
    /** Whose sequences begin where no other's do. */
    readonly number: number,
    /** Whose restaurants it has. */
    public owns: ResidueClass,
  ) {}

  /** An empty one. */
  static async create<S extends Servers>(servers: S, number: number, shard: ResidueClass): Promise<WorldDatabase<S>> {
    const { url } = await createTestDatabase(servers.writable.url);
    return new WorldDatabase(servers, new URL(url).pathname.slice(1), `shard-${number}`, number, shard);
  }

  get url(): string {
    return databaseUrl(this.servers.writable.url, this.database);
  }

  /** Its line in the map of somebody who reaches it by way of `url`. */
  entry(url = this.url): ShardEntry {
    const { name, number, owns } = this;
    return { name, number, ...owns, url };
  }

  /** Rows as they are. */
  async query<Row>(sql: string, params?: unknown[]): Promise<Row[]> {
    this.#pool ??= new Pool({ connectionString: this.url, max: 2 }).on('error', () => undefined);
    return (await this.#pool.query(sql, params)).rows as Row[];
  }

  /** A SELECT that does not see the events which a split has left behind: they are no longer this database's. */
  async select<Row>(sql: string, params?: unknown[]): Promise<Row[]> {
    const own = `SELECT * FROM public.payment_events WHERE ${inClass(this.owns)}`;
    return await this.query<Row>(`WITH payment_events AS (${own}) ${sql}`, params);
  }

  async disconnect(): Promise<void> {
    const pool = this.#pool;
    this.#pool = undefined;
    await pool?.end();
  }
}
