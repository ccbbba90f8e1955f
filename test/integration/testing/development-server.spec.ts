import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { DataDirectoryInUseError, PortTakenError, TemporaryDirectory } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';
import {
  ensureDevelopmentServer,
  findDevelopmentServer,
  startDevelopmentServer,
  stopDevelopmentServer,
} from '../../../scripts/development-server';

let folder: TemporaryDirectory;
let dataDirectory: string;
let port: number;

beforeEach(async () => {
  folder = new TemporaryDirectory();
  dataDirectory = folder.dataDirectory;
  const probe = createServer().listen(0);
  await once(probe, 'listening');
  ({ port } = probe.address() as { port: number });
  probe.close();
  await once(probe, 'close');
});
afterEach(() => folder.remove());

it('makes the default address of this package true: user postgres, password "password", localhost', async () => {
  expect(await ensureDevelopmentServer({ port, dataDirectory })).toBe('started');
  await withClient(`postgresql://postgres:password@localhost:${port}/postgres`, (client) => client.query('SELECT'));
  expect(await ensureDevelopmentServer({ port, dataDirectory })).toBe('already running');
});

it('is started once when several processes want it at the same time', async () => {
  const outcomes = await Promise.all([1, 2, 3].map(() => ensureDevelopmentServer({ port, dataDirectory })));
  expect(outcomes.sort()).toEqual(['already running', 'already running', 'started']);
});

it('stops, keeps its data, and starts again with it', async () => {
  const { server } = await startDevelopmentServer({ port, dataDirectory });
  await withClient(server.url, (client) => client.query('CREATE TABLE kept ()'));
  expect(await stopDevelopmentServer(dataDirectory)).toBe('stopped');
  expect(await stopDevelopmentServer(dataDirectory)).toBe('not running');
  expect(await findDevelopmentServer(dataDirectory)).toBeUndefined();
  await startDevelopmentServer({ port, dataDirectory });
  await withClient(server.url, (client) => client.query('TABLE kept'));
});

it('is not moved to another port while it runs', async () => {
  await startDevelopmentServer({ port, dataDirectory });
  await expect(startDevelopmentServer({ port: port - 1, dataDirectory })).rejects.toThrow(DataDirectoryInUseError);
});

it('leaves a port to the program that has it', async () => {
  const other = createServer().listen(port);
  await once(other, 'listening');
  await expect(startDevelopmentServer({ port, dataDirectory })).rejects.toThrow(PortTakenError);
  expect(await ensureDevelopmentServer({ port, dataDirectory })).toBe('already running');
  other.close();
});

it('starts nothing for a server on another machine', async () => {
  expect(await ensureDevelopmentServer({ host: 'db.example.com', port, dataDirectory })).toBe('already running');
  expect(await findDevelopmentServer(dataDirectory)).toBeUndefined();
});

it('outlives the command that starts it; status exits with 3 when it is stopped', async () => {
  const root = join(__dirname, '../../..');
  const run = (...args: string[]): Promise<{ code: number; output: string }> =>
    new Promise((done) => {
      const command = ['--import', 'tsx', 'scripts/database.ts', ...args, '--data', dataDirectory];
      execFile(process.execPath, command, { cwd: root }, (error, stdout, stderr) => {
        done({ code: Number(error?.code ?? 0), output: stdout + stderr });
      });
    });
  expect(await run('status')).toMatchObject({ code: 3 });
  expect(await run('start', '--port', String(port))).toMatchObject({ code: 0 });
  expect(await run('status')).toEqual({ code: 0, output: expect.stringContaining(`localhost:${port}`) as string });
  expect(await run('stop')).toMatchObject({ code: 0 });
  expect(await run('status')).toMatchObject({ code: 3 });
  expect(await run('start', '--port', 'http')).toMatchObject({ code: 64 });
});
