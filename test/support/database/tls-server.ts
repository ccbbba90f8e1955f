import { X509Certificate } from 'node:crypto';
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type TLSSocket } from 'node:tls';
import { Client } from 'pg';
import { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../../src/testing';
import { type SignedCertificate } from './authority';

const FIXTURES = join(__dirname, '../../fixtures/tls');

/** Certificate and authority in one, for the name `localhost` alone. */
export const CERTIFICATE = join(FIXTURES, 'server.crt');

const BY_PASSWORD = 'hostssl all all all scram-sha-256\n';

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
      for (const name of ['server.crt', 'server.key']) {
        place(server.dataDirectory, name, readFileSync(join(FIXTURES, name)));
      }
      writeFileSync(join(server.dataDirectory, 'pg_hba.conf'), BY_PASSWORD);
      await client.query('ALTER SYSTEM SET ssl = on');
      await client.query('SELECT pg_reload_conf()');
      while ((await client.query<{ ssl: string }>('SHOW ssl')).rows[0]!.ssl !== 'on');
    } finally {
      await client.end();
    }
    return new TlsServer(server, folder);
  }

  get port(): number {
    return this.server.port;
  }

  /** Shows this certificate to all who connect from now on. */
  async present({ certificate, key }: SignedCertificate): Promise<void> {
    place(this.server.dataDirectory, 'server.crt', certificate);
    place(this.server.dataDirectory, 'server.key', key);
    await this.query('SELECT pg_reload_conf()');
    // The postmaster takes it in at a moment of its own.
    while ((await this.shown()) !== new X509Certificate(certificate).fingerprint256) await delay(20);
  }

  /** Lets in by this line of pg_hba.conf as well, with certificates that this authority has signed. */
  async lets(line: string, authority: string): Promise<void> {
    place(this.server.dataDirectory, 'root.crt', authority);
    writeFileSync(join(this.server.dataDirectory, 'pg_hba.conf'), `${line}\n${BY_PASSWORD}`);
    await this.query("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    await this.query('SELECT pg_reload_conf()');
    while ((await this.query<{ ssl_ca_file: string }>('SHOW ssl_ca_file'))[0]!.ssl_ca_file !== 'root.crt')
      await delay(20);
  }

  /** The fingerprint of the certificate that it shows. */
  private async shown(): Promise<string> {
    const client = new Client({ connectionString: this.url('sslmode=no-verify') });
    await client.connect();
    try {
      const { stream } = (client as unknown as { connection: { stream: TLSSocket } }).connection;
      return stream.getPeerCertificate().fingerprint256;
    } finally {
      await client.end();
    }
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
function place(dataDirectory: string, name: string, content: string | Buffer): void {
  const path = join(dataDirectory, name);
  writeFileSync(path, content);
  chmodSync(path, 0o600);
  const { uid, gid } = statSync(dataDirectory);
  chownSync(path, uid, gid);
}
