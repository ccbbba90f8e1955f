import { chmodSync, chownSync, copyFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../../src/testing';

const FIXTURES = join(__dirname, '../../fixtures/tls');

/** Certificate and authority in one, for the name `localhost` alone. */
export const CERTIFICATE = join(FIXTURES, 'server.crt');

/** Those that are still logging in have no user yet. */
const OTHERS = `SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`;

/** A server of its own that lets only encrypted connections in, with a certificate that nobody has signed. */
export class TlsServer {
  private constructor(
    private readonly server: EmbeddedServer,
    private readonly folder: TemporaryDirectory,
  ) {}

  static async start(): Promise<TlsServer> {
    const folder = new TemporaryDirectory();
    const server = await EmbeddedServer.start({
      dataDirectory: folder.dataDirectory,
      settings: UNSAFE_BUT_FAST,
      notice: () => undefined,
    });
    const client = new Client({ connectionString: server.url });
    await client.connect();
    try {
      place(server.dataDirectory, 'server.crt');
      place(server.dataDirectory, 'server.key');
      writeFileSync(join(server.dataDirectory, 'pg_hba.conf'), 'hostssl all all all scram-sha-256\n');
      await client.query('ALTER SYSTEM SET ssl = on');
      await client.query('SELECT pg_reload_conf()');
      while ((await client.query<{ ssl: string }>('SHOW ssl')).rows[0]!.ssl !== 'on');
    } finally {
      await client.end();
    }
    return new TlsServer(server, folder);
  }

  /** Of the database `postgres`, at `localhost` unless said otherwise, with these parameters. */
  url(parameters = '', change: Partial<Pick<URL, 'hostname' | 'password'>> = {}): string {
    const url = Object.assign(new URL(this.server.url), { hostname: 'localhost', ...change });
    url.search = parameters;
    return url.href;
  }

  /** Runs SQL in a session of its own. */
  async query<Row>(sql: string): Promise<Row[]> {
    const client = new Client({ connectionString: this.url('sslmode=no-verify') });
    await client.connect();
    try {
      return (await client.query<object & Row>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** Returns once nobody is connected, or about to be. */
  async noSessions(): Promise<void> {
    while ((await this.query(OTHERS)).length > 0) await delay(50);
  }

  async stop(): Promise<void> {
    await this.folder.remove();
  }
}

/** PostgreSQL takes only a key that nobody else can read. */
function place(dataDirectory: string, name: string): void {
  const path = join(dataDirectory, name);
  copyFileSync(join(FIXTURES, name), path);
  chmodSync(path, 0o600);
  const { uid, gid } = statSync(dataDirectory);
  chownSync(path, uid, gid);
}
