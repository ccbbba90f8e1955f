import { Pool } from 'pg';
import { type PaymentEventsDataSourceSettings } from '../../../src/connection/data-source-settings';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../../src/testing';
import { quietDataSource } from './quiet-data-source';

/** A server of its own with a migrated database, to be killed: it comes back with the same data on the same port. */
export class CrashingServer {
  private constructor(
    private readonly folder: TemporaryDirectory,
    private server: EmbeddedServer,
    private readonly pool: Pool,
    /** Of the service that goes on. */
    readonly dataSource: PaymentEventsDataSource,
  ) {}

  static async start(settings: Omit<PaymentEventsDataSourceSettings, 'url'>): Promise<CrashingServer> {
    const folder = new TemporaryDirectory();
    try {
      const server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
      const { url } = await createTestDatabase(server.url);
      const dataSource = await quietDataSource({ url, ...settings });
      await dataSource.runMigrations();
      const pool = new Pool({ connectionString: url }).on('error', () => undefined);
      return new CrashingServer(folder, server, pool, dataSource);
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  readonly query = async <Row>(sql: string, params?: unknown[]): Promise<Row[]> =>
    (await this.pool.query(sql, params)).rows as Row[];

  /** As the kernel does when memory runs out, to the server's main process: nothing more gets written by any of them. */
  readonly kill = async (): Promise<void> => {
    await this.server.kill();
    this.server = await EmbeddedServer.start({ dataDirectory: this.folder.dataDirectory, port: this.server.port });
  };

  /** To one session: the server then ends all others, throws its memory away and recovers by itself. */
  readonly killSession = async (): Promise<void> => {
    const [session] = await this.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'payment-events-db' ORDER BY random() LIMIT 1`,
    );
    process.kill(session!.pid, 'SIGKILL');
  };

  async remove(): Promise<void> {
    await this.dataSource.destroy();
    await this.pool.end();
    await this.folder.remove();
  }
}
