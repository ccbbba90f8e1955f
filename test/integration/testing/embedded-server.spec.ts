import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import {
  DataDirectoryError,
  DataDirectoryInUseError,
  EmbeddedServer,
  type EmbeddedServerOptions,
  PortTakenError,
  TemporaryDirectory,
  UNSAFE_BUT_FAST,
} from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';

let folder: TemporaryDirectory;
let dataDirectory: string;
let notices: string[];

beforeEach(() => {
  folder = new TemporaryDirectory();
  dataDirectory = folder.dataDirectory;
  notices = [];
});
afterEach(() => folder.remove());

const start = (options: Partial<EmbeddedServerOptions> = {}): Promise<EmbeddedServer> =>
  EmbeddedServer.start({
    dataDirectory,
    settings: UNSAFE_BUT_FAST,
    notice: (message) => notices.push(message),
    ...options,
  });

const query = async (server: EmbeddedServer, sql: string): Promise<unknown[]> =>
  withClient(server.url, async (client) => (await client.query<Record<string, unknown>>(sql)).rows);

const asRoot = process.getuid?.() === 0 ? it : it.skip;

it('is durable unless told otherwise', async () => {
  const server = await start({ settings: {} });
  const rows = await query(
    server,
    "SELECT name, setting FROM pg_settings WHERE name = ANY ('{fsync,synchronous_commit,full_page_writes}')",
  );
  expect(rows).toHaveLength(3);
  expect(rows).toEqual(rows.map((row) => ({ ...(row as object), setting: 'on' })));
});

it('lives in UTC and listens to this machine alone', async () => {
  const rows = await query(
    await start(),
    "SELECT current_setting('TimeZone') AS zone, current_setting('listen_addresses') AS host",
  );
  expect(rows).toEqual([{ zone: 'UTC', host: '127.0.0.1' }]);
});

it('keeps every committed row through kill -9', async () => {
  const server = await start({ settings: {} });
  await query(server, 'CREATE TABLE kept AS SELECT 1 AS id');
  await server.kill();
  await expect(query(server, 'SELECT')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(existsSync(join(dataDirectory, 'postmaster.pid'))).toBe(true);

  const again = await start({ settings: {}, port: server.port });
  expect(again.url).toBe(server.url);
  expect(await query(again, 'SELECT id FROM kept')).toEqual([{ id: 1 }]);
  expect(readFileSync(join(dataDirectory, 'server.log'), 'utf8')).toContain('automatic recovery in progress');
});

it('refuses a second start on the same folder and leaves the first alone', async () => {
  const server = await start();
  await expect(start()).rejects.toEqual(new DataDirectoryInUseError(dataDirectory, server.pid, server.port));
  expect(await query(server, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

it('lets one of several starts at once win on a new folder', async () => {
  const outcomes = await Promise.allSettled([start(), start(), start()]);
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
  expect(failures).toEqual([expect.any(DataDirectoryInUseError), expect.any(DataDirectoryInUseError)]);
  const running = await EmbeddedServer.find({ dataDirectory });
  expect(await query(running!, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(readdirSync(dirname(dataDirectory))).toEqual(['data']);
});

it('starts in spite of the pid file of a process that is gone', async () => {
  const server = await start();
  await server.stop();
  const dead = spawn('true');
  await once(dead, 'exit');
  leavePidFile(dead.pid!, server.port);
  expect(await EmbeddedServer.find({ dataDirectory })).toBeUndefined();
  await start();
});

it('starts in spite of a pid file whose number belongs to another program now', async () => {
  const server = await start();
  await server.stop();
  const { uid, gid } = statSync(dataDirectory);
  const other = spawn('sleep', ['60'], process.getuid?.() === 0 ? { uid, gid, cwd: '/' } : {});
  leavePidFile(other.pid!, server.port);
  expect(await EmbeddedServer.find({ dataDirectory })).toBeUndefined();
  await start();
  expect(other.kill()).toBe(true);
});

function leavePidFile(pid: number, port: number): void {
  writeFileSync(
    join(dataDirectory, 'postmaster.pid'),
    [pid, dataDirectory, 0, port, '', '127.0.0.1', '', 'ready', ''].join('\n'),
  );
}

it('moves a half-made data folder aside and makes a new one', async () => {
  mkdirSync(join(dataDirectory, 'base'), { recursive: true });
  writeFileSync(join(dataDirectory, 'PG_VERSION'), '18\n');
  await start();
  expect(notices).toEqual([expect.stringContaining('only half created')]);
  expect(readdirSync(dirname(dataDirectory))).toEqual(['data', expect.stringMatching(/^data\.incomplete-\d+$/)]);
});

it('refuses a folder with other files and leaves it as it was', async () => {
  mkdirSync(dataDirectory);
  writeFileSync(join(dataDirectory, 'thesis.txt'), 'precious');
  await expect(start()).rejects.toThrow(DataDirectoryError);
  expect(readdirSync(dataDirectory)).toEqual(['thesis.txt']);
});

it('names both versions when the data was made by another one', async () => {
  const server = await start();
  await server.stop();
  writeFileSync(join(dataDirectory, 'PG_VERSION'), '9\n');
  await expect(start()).rejects.toThrow(new RegExp(`made by PostgreSQL 9; this server is ${server.version}`));
});

describe('a port that is taken', () => {
  let other: Server;
  let port: number;

  beforeEach(async () => {
    other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    ({ port } = other.address() as { port: number });
  });
  afterEach(() => other.close());

  it('is named, and the server starts there once it is free', async () => {
    await expect(start({ port })).rejects.toEqual(new PortTakenError(port));
    other.close();
    await once(other, 'close');
    expect((await start({ port })).port).toBe(port);
  });
});

it('works in a path with spaces and quotes', async () => {
  dataDirectory = join(dirname(dataDirectory), `it's "my" data $HOME`);
  const server = await start();
  expect(await query(server, 'SHOW data_directory')).toEqual([{ data_directory: dataDirectory }]);
  await server.stop();
});

it('is found by its folder and stopped by a process that finds it', async () => {
  const { pid } = await start();
  const found = await EmbeddedServer.find({ dataDirectory });
  expect(found?.pid).toBe(pid);
  await found?.stop();
  expect(await EmbeddedServer.find({ dataDirectory })).toBeUndefined();
});

asRoot('runs as another user than root', async () => {
  const server = await start();
  expect(statSync(`/proc/${server.pid}`).uid).not.toBe(0);
  expect(statSync(dataDirectory).uid).not.toBe(0);
});

asRoot('keeps data outside of a folder that its user may not enter, and says so', async () => {
  dataDirectory = join(dirname(dataDirectory), 'private', 'data');
  mkdirSync(dirname(dataDirectory));
  chmodSync(dirname(dataDirectory), 0o700);
  const server = await start();
  try {
    expect(notices).toEqual([expect.stringContaining(server.dataDirectory)]);
    expect(existsSync(dataDirectory)).toBe(false);
    expect((await EmbeddedServer.find({ dataDirectory }))?.pid).toBe(server.pid);
  } finally {
    await server.stop();
    rmSync(dirname(server.dataDirectory), { recursive: true });
  }
});
