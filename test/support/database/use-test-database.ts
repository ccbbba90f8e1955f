import { Client } from 'pg';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { currentTestRun } from '../../../src/testing/test-run';
import { FileDatabase } from '../../../src/testing/use-test-database';
import { type FileGlobals } from '../jest/environment';
import { FENCE_OF_ALL, openThroughShards, THROUGH_SHARDS } from '../shards/through-shards';
import { requireNoSessions } from './require-no-sessions';

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
  beforeAll(() => database.create({ empty }));
  (globalThis as unknown as FileGlobals).atEndOfFile.push((file) => database.finish(file));
  return database;
}

/** The database of a spec file, which also finds what the file leaves behind. */
export class DatabaseOfFile extends FileDatabase {
  readonly #clients: Client[] = [];
  #isMade = false;
  #isShard = false;
  #ofShard: Promise<PaymentEventsDataSource> | undefined;

  /** One more session, for tests of several at once. It is closed at the end of the file. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.url, application_name: 'test' }).on('error', () => undefined);
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  override async create(options: UseTestDatabaseOptions): Promise<void> {
    await super.create(options);
    this.#isMade = true;
    if (!THROUGH_SHARDS || options.empty) return;
    await this.query(FENCE_OF_ALL);
    this.#isShard = true;
  }

  override dataSource(): Promise<PaymentEventsDataSource> {
    return this.#isShard ? (this.#ofShard ??= openThroughShards(this.url)) : super.dataSource();
  }

  async finish({ path, failed }: { path: string; failed: boolean }): Promise<void> {
    if (!this.#isMade) return;
    await this.closeSessions();
    if (failed && !process.env.CI) {
      process.stderr.write(`Kept ${this.name}, the database of ${path}\n`);
      return;
    }
    try {
      await requireNoSessions(currentTestRun().serverUrl, this.name);
    } finally {
      await this.drop();
    }
  }

  override async closeSessions(): Promise<void> {
    await super.closeSessions();
    const ofShard = await this.#ofShard?.catch(() => undefined);
    if (ofShard?.isInitialized) await ofShard.destroy();
    this.#ofShard = undefined;
    for (const client of this.#clients.splice(0)) await client.end().catch(() => undefined);
  }
}
