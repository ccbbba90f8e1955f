import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { createTemplateDatabase, createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';

/**
 * Beside the defaults of PostgreSQL, fsync and synchronous_commit among them. No checkpoint falls into a run, so that none
 * hits one contestant more than another.
 */
export const SERVER_SETTINGS = { shared_buffers: '512MB', max_wal_size: '16GB', checkpoint_timeout: '1h' };

export interface LabSettings {
  /** Of each contestant's pool. */
  readonly connections: number;
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
    readonly serverUrl: string,
    readonly settings: LabSettings,
  ) {}

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
      const lab = new Lab(server.url, settings);
      lab.atEnd(() => folder.remove());
      return lab;
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  notice(text: string): void {
    this.settings.notice(text);
  }

  /** What is to be closed, the latest first. */
  atEnd(close: () => Promise<unknown>): void {
    this.#atEnd.unshift(close);
  }

  async close(): Promise<void> {
    for (const close of this.#atEnd.splice(0)) await close();
  }

  /** A database without tables. */
  async emptyDatabase(): Promise<string> {
    return (await createTestDatabase(this.serverUrl, { prefix: 'bench' })).url;
  }

  /** A database with all migrations run, and a pool on it. */
  async migratedDatabase(): Promise<PaymentEventsDataSource> {
    const template = 'bench_template';
    await (this.#template ??= createTemplateDatabase(this.serverUrl, template));
    return this.connect((await createTestDatabase(this.serverUrl, { prefix: 'bench', template })).url);
  }

  async connect(url: string): Promise<PaymentEventsDataSource> {
    const options = createDataSourceOptions({ url, poolSize: this.settings.connections });
    const dataSource = await new PaymentEventsDataSource(options).initialize();
    this.atEnd(() => dataSource.destroy());
    return dataSource;
  }

  /** What the server says about itself, and how long it takes to make one small commit durable. */
  async describeServer(): Promise<{ postgres: string; commitMs: number }> {
    const client = new Client({ connectionString: this.serverUrl });
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
export { poolOf } from '../../src/database/connections';
