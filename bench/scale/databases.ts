import { randomUUID } from 'node:crypto';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { addFence, FENCED_TABLES } from '../../src/fence/fence-sql';
import { owns, type ResidueClass } from '../../src/fence/residue';
import { createTemplateDatabase, createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { poolOf, STAYS_CONNECTED } from '../lab/lab';
import { serverMicros } from '../lab/server-cpu';

/** Beside the defaults of PostgreSQL. No checkpoint falls into a run: the page images that follow one are an assumption. */
export const SERVER_SETTINGS = { shared_buffers: '256MB', max_wal_size: '16GB', checkpoint_timeout: '1h' };

/** How many restaurants a database has. */
const RESTAURANTS = 1_000;

/** What a database has used, or has, so far. */
export interface Reading {
  /** CPU time of all processes of the server, in microseconds. NaN where the system does not tell. */
  readonly serverMicros: number;
  readonly walBytes: number;
  /** Of tables with their indexes, by name; but for the outbox, see `bytesOfMessage`. */
  readonly bytes: Readonly<Record<string, number>>;
}

const WAL = `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes`;

const SIZES = `
  SELECT relname AS name, pg_total_relation_size(oid)::float8 AS bytes FROM pg_class
  WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'outbox'`;

const MESSAGE = `SELECT pg_total_relation_size('outbox')::float8 / count(*) AS bytes FROM outbox`;

/** A server of its own with one database, migrated; with a fence where a class is given, and restaurants of that class. */
export class ScaleDatabase {
  private constructor(
    private readonly server: EmbeddedServer,
    private readonly folder: TemporaryDirectory,
    readonly dataSource: PaymentEventsDataSource,
    readonly restaurants: readonly string[],
  ) {}

  static async start(fence: ResidueClass | undefined, callers: number, notice: (text: string) => void) {
    const folder = new TemporaryDirectory();
    try {
      const { dataDirectory } = folder;
      const server = await EmbeddedServer.start({ dataDirectory, version: 18, settings: SERVER_SETTINGS, notice });
      const template = 'bench_template';
      await createTemplateDatabase(server.url, template);
      const { url } = await createTestDatabase(server.url, { prefix: 'bench', template });
      // Each request by a statement of its own: how many travel together depends on the load, and so on the machine.
      const options = createDataSourceOptions({ url, poolSize: callers + 1, coalescedStatements: 0 });
      const dataSource = await new PaymentEventsDataSource(options).initialize();
      poolOf(dataSource).options.idleTimeoutMillis = STAYS_CONNECTED.idleTimeoutMillis;
      if (fence) for (const table of FENCED_TABLES) await dataSource.query(addFence(table, fence));
      return new ScaleDatabase(server, folder, dataSource, restaurantsOf(fence));
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  get version(): Promise<string> {
    return this.dataSource
      .query<{ server_version: string }[]>('SHOW server_version')
      .then(([row]) => row!.server_version);
  }

  async read(): Promise<Reading> {
    const [wal] = await this.dataSource.query<{ bytes: string }[]>(WAL);
    const sizes = await this.dataSource.query<{ name: string; bytes: number }[]>(SIZES);
    return {
      serverMicros: serverMicros(this.server.pid) ?? NaN,
      walBytes: Number(wal!.bytes),
      bytes: Object.fromEntries(sizes.map(({ name, bytes }) => [name, bytes])),
    };
  }

  /** A message that was delivered, with its share of what its update has left: a table that lives on uses that again. */
  async bytesOfMessage(): Promise<number> {
    const [message] = await this.dataSource.query<{ bytes: number }[]>(MESSAGE);
    return message!.bytes;
  }

  /** What autovacuum would do in the middle of a sample. */
  async vacuum(): Promise<void> {
    await this.dataSource.query('VACUUM (ANALYZE)');
  }

  async close(): Promise<void> {
    await this.dataSource.destroy();
    await this.folder.remove();
  }
}

function restaurantsOf(fence: ResidueClass | undefined): string[] {
  const restaurants: string[] = [];
  while (restaurants.length < RESTAURANTS) {
    const restaurantId = randomUUID();
    if (!fence || owns(fence, restaurantId)) restaurants.push(restaurantId);
  }
  return restaurants;
}
