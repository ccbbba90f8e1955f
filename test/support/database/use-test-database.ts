import { Client } from 'pg';
import { currentTestRun, FileDatabase } from '../../../src/testing';
import { type FileGlobals } from '../jest/environment';
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
    for (const client of this.#clients.splice(0)) await client.end().catch(() => undefined);
  }
}
