import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { type PaymentEventsDataSourceSettings } from '../../src/connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { createTemplateDatabase, createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { poolOf } from '../../src/database/connections';
import { serverMicros } from './server-cpu';

/**
 * Beside the defaults of PostgreSQL, fsync and synchronous_commit among them. No checkpoint falls into a run, so that none
 * hits one contestant more than another.
 */
export const SERVER_SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '16GB',
  checkpoint_timeout: '1h',
  max_connections: '500',
};

/** The most connections that a contestant of somebody else is given, so that it can do its best: one for each caller. */
export const MOST_CONNECTIONS = 64;

/** No contestant connects anew in the middle of a sample. */
export const STAYS_CONNECTED = { idleTimeoutMillis: 0 };

/** Beside the size of the pool, what a data source is given. */
type DataSourceSettings = Omit<PaymentEventsDataSourceSettings, 'url'>;

export interface LabSettings {
  /** Of the pool of each of our contestants. */
  readonly connections: number;
  /** How many at once call what accepts requests. */
  readonly callers: readonly number[];
  /** Of each contestant, a round. */
  readonly seconds: number;
  /** How many requests or processed messages there were before, where growth is measured. */
  readonly earlierRequests: number;
  readonly notice: (text: string) => void;
}

/** A server of its own, and databases on it. */
export class Lab {
  readonly #atEnd: (() => Promise<unknown>)[] = [];
  #template: Promise<void> | undefined;
  /** Thousand restaurants, one of which each request is of. */
  readonly restaurants = Array.from({ length: 1000 }, () => randomUUID());

  private constructor(
    private readonly server: EmbeddedServer,
    private readonly folder: TemporaryDirectory,
    readonly settings: LabSettings,
  ) {}

  /** CPU time that the server has used so far. Undefined where the system does not tell. */
  readonly serverMicros = (): number | undefined => serverMicros(this.server.pid);

  static async open(settings: LabSettings): Promise<Lab> {
    const folder = new TemporaryDirectory();
    try {
      const { notice } = settings;
      const server = await EmbeddedServer.start({
        dataDirectory: folder.dataDirectory,
        version: 18,
        settings: SERVER_SETTINGS,
        notice,
      });
      return new Lab(server, folder, settings);
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  notice(text: string): void {
    this.settings.notice(text);
  }

  /** What is to be closed after the comparison, the latest first. */
  atEnd(close: () => Promise<unknown>): void {
    this.#atEnd.unshift(close);
  }

  async endComparison(): Promise<void> {
    for (const close of this.#atEnd.splice(0)) await close();
  }

  async close(): Promise<void> {
    await this.endComparison();
    await this.folder.remove();
  }

  /** A database without tables. */
  async emptyDatabase(): Promise<string> {
    return (await createTestDatabase(this.server.url, { prefix: 'bench' })).url;
  }

  /** A database with all migrations run, and a pool on it. */
  async migratedDatabase(settings?: DataSourceSettings): Promise<PaymentEventsDataSource> {
    return await this.connect(await this.migratedDatabaseUrl(), settings);
  }

  async migratedDatabaseUrl(): Promise<string> {
    const template = 'bench_template';
    await (this.#template ??= createTemplateDatabase(this.server.url, template));
    return (await createTestDatabase(this.server.url, { prefix: 'bench', template })).url;
  }

  async connect(url: string, settings: DataSourceSettings = {}): Promise<PaymentEventsDataSource> {
    const options = createDataSourceOptions({ url, poolSize: this.settings.connections, ...settings });
    const dataSource = await new PaymentEventsDataSource(options).initialize();
    poolOf(dataSource).options.idleTimeoutMillis = STAYS_CONNECTED.idleTimeoutMillis;
    this.atEnd(() => dataSource.destroy());
    return dataSource;
  }

  /** What the server says about itself, and how long it takes to make one small commit durable. */
  async describeServer(): Promise<{ postgres: string; commitMs: number }> {
    const client = new Client({ connectionString: this.server.url });
    await client.connect();
    try {
      const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
      await client.query('CREATE TABLE commits (id integer)');
      const commits = 50;
      const start = performance.now();
      for (let id = 0; id < commits; id++) await client.query('INSERT INTO commits VALUES ($1)', [id]);
      const commitMs = (performance.now() - start) / commits;
      await client.query('DROP TABLE commits');
      return { postgres: rows[0]?.server_version ?? '', commitMs };
    } finally {
      await client.end();
    }
  }
}

/**
 * The pool that the operations themselves use. Contestants that bypass them share it, so that the same driver, with the
 * same settings, on the same connections, serves both.
 */
export { poolOf };
