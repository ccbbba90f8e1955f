import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { locateData } from '../../../src/testing/server-user';
import { codeBlocks } from '../docs/doc-code';
import { eventually } from '../requests/races';

/** The page whose configuration the tests run with. */
export const PAGE = 'docs/how-to/pgbouncer.md';

/** Such as `[1, 18]`; undefined where it is not installed. Debian has it in /usr/sbin, which is not on every PATH. */
export function pgBouncerVersion(): [major: number, minor: number] | undefined {
  const { stdout } = spawnSync('pgbouncer', ['--version'], { encoding: 'utf8', env: ENVIRONMENT });
  const version = /^PgBouncer (\d+)\.(\d+)/.exec(stdout ?? '');
  return version ? [Number(version[1]), Number(version[2])] : undefined;
}

const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/** Runs PgBouncer until its input ends, which it does when this process is gone, by whatever death. */
const UNTIL_INPUT_ENDS = 'pgbouncer -q "$1" & read -r _; kill -INT $!; wait';

/** A PgBouncer of a test's own, with the configuration of {@link PAGE}, on a port of its own. */
export class PgBouncer {
  private constructor(
    /** The database by way of here. */
    readonly url: string,
    readonly stop: () => Promise<void>,
  ) {}

  /**
   * @param target the database, with user and password
   * @param settings what to have otherwise than the page says
   */
  static async start(target: string, settings: Record<string, string> = {}): Promise<PgBouncer> {
    const server = new URL(target);
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
    const userlist = join(folder, 'userlist.txt');
    const config = configure(codeBlocks(PAGE, 'ini'), {
      payment_events_db: undefined,
      [server.pathname.slice(1)]: `host=${server.hostname} port=${server.port}`,
      listen_port: String(port),
      auth_file: userlist,
      unix_socket_dir: '',
      ...settings,
    });
    writeFileSync(userlist, `"${server.username}" "${decodeURIComponent(server.password)}"\n`, { mode: 0o600 });
    writeFileSync(join(folder, 'pgbouncer.ini'), config);
    // Like PostgreSQL, it refuses to run as root.
    const { user } = locateData(join(folder, 'data'));
    chmodSync(folder, 0o755);
    if (user.uid !== undefined && user.gid !== undefined) chownSync(userlist, user.uid, user.gid);

    const child = spawn('/bin/sh', ['-c', UNTIL_INPUT_ENDS, 'sh', join(folder, 'pgbouncer.ini')], {
      ...user,
      cwd: '/',
      env: ENVIRONMENT,
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    const stop = async () => {
      const exited = child.exitCode === null ? once(child, 'exit') : undefined;
      child.stdin.end();
      await exited;
      rmSync(folder, { recursive: true });
    };
    const url = new URL(target);
    url.host = `127.0.0.1:${port}`;
    if (await eventually(() => listens(port))) return new PgBouncer(url.href, stop);
    await stop();
    throw new Error('PgBouncer does not answer; what it says is above.');
  }
}

/** Puts settings into an ini file: where they stand, else at the end. Undefined takes one out. */
function configure(ini: string, settings: Record<string, string | undefined>): string {
  let text = ini;
  for (const [name, value] of Object.entries(settings)) {
    const line = new RegExp(`^${name} =.*$`, 'm');
    const setting = value === undefined ? '' : `${name} = ${value}`;
    if (line.test(text)) text = text.replace(line, setting);
    else if (value?.startsWith('host=')) text = text.replace('[databases]', `[databases]\n${setting}`);
    else text += `${setting}\n`;
  }
  return text;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}

const listens = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('error', () => resolve(false)).once('connect', () => resolve(true));
    socket.once('connect', () => socket.destroy());
  });
