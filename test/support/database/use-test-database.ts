import { Client, Pool } from 'pg';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';
import { createTestDatabase, type TestDatabase } from '../../../src/testing';
import { type FileGlobals } from '../jest/environment';
import { requireNoSessions } from './require-no-sessions';
import { currentTestRun } from '../jest/test-run';

export interface UseTestDatabaseOptions {
  /** An empty database instead of a migrated one. */
  empty?: boolean;
}

/**
 * Gives a spec file (or a `describe` block) a database of its own: made before the first test, dropped after the last
 * hook of the file, kept when the file fails. A file that leaves connections behind fails.
 *
 * ```ts
 * const database = useTestDatabase();
 * it('…', async () => expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]));
 * ```
 */
export function useTestDatabase({ empty = false }: UseTestDatabaseOptions = {}): DatabaseOfFile {
  const database = new DatabaseOfFile();
  beforeAll(() => database.create(empty));
  (globalThis as unknown as FileGlobals).atEndOfFile.push((file) => database.finish(file));
  return database;
}

export class DatabaseOfFile {
  #database: TestDatabase | undefined;
  #pool: Pool | undefined;
  #dataSource: Promise<PaymentEventsDataSource> | undefined;
  readonly #clients: Client[] = [];

  get url(): string {
    return this.#created().url;
  }

  get name(): string {
    return this.#created().name;
  }

  /** Runs SQL on a connection of this helper's pool and returns the rows (those of the last statement, if there are many). */
  async query<Row = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]> {
    this.#pool ??= new Pool({ connectionString: this.url, application_name: 'test' }).on('error', () => undefined);
    const result: unknown = await this.#pool.query(sql, params);
    return ([result].flat().at(-1) as { rows: Row[] }).rows;
  }

  /** One more session, for tests of several at once. It is closed at the end of the file. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.url, application_name: 'test' }).on('error', () => undefined);
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  /** The initialised DataSource of this database, one for the whole file. It is destroyed at the end of the file. */
  dataSource(): Promise<PaymentEventsDataSource> {
    const options = createDataSourceOptions({ url: this.url });
    return (this.#dataSource ??= new PaymentEventsDataSource(options).initialize());
  }

  async create(empty: boolean): Promise<void> {
    const { serverUrl, prefix, template, templateError } = currentTestRun();
    if (!empty && templateError) throw new Error(`The migrated template could not be made: ${templateError}`);
    this.#database = await createTestDatabase(serverUrl, empty ? { prefix } : { prefix, template });
  }

  async finish({ path, failed }: { path: string; failed: boolean }): Promise<void> {
    if (!this.#database) return;
    await this.closeSessions();
    if (failed && !process.env.CI) {
      process.stderr.write(`Kept ${this.#database.name}, the database of ${path}\n`);
      return;
    }
    try {
      await requireNoSessions(currentTestRun().serverUrl, this.#database.name);
    } finally {
      await this.#database.drop();
    }
  }

  /** Ends what this helper opened; what is asked of it afterwards opens again. */
  async closeSessions(): Promise<void> {
    const dataSource = await this.#dataSource?.catch(() => undefined);
    if (dataSource?.isInitialized) await dataSource.destroy();
    await this.#pool?.end();
    for (const client of this.#clients.splice(0)) await client.end().catch(() => undefined);
    this.#dataSource = this.#pool = undefined;
  }

  #created(): TestDatabase {
    if (!this.#database) throw new Error('The test database is made before the first test: use it in tests and hooks.');
    return this.#database;
  }
}
