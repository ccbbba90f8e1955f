import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { DocPage } from '../support/docs/doc-page';
import { describeDocker } from '../support/processes/docker';
import { useTestDatabase } from '../support/database/use-test-database';

jest.setTimeout(900_000);

const ROOT = join(__dirname, '../..');
const IMAGE = `payment-events-db-test-${randomBytes(4).toString('hex')}`;

interface Finished {
  exitCode: number | null;
  output: string;
}

/** Docker's own command line. */
const docker = (...args: string[]) =>
  new Promise<Finished>((done) => {
    execFile('docker', args, { cwd: ROOT, maxBuffer: 100_000_000 }, (error, stdout, stderr) =>
      done({ exitCode: Number(error?.code ?? 0), output: stdout + stderr }),
    );
  });

describeDocker('the image of the Dockerfile')('the image of the Dockerfile', () => {
  const empty = useTestDatabase({ empty: true });
  const database = useTestDatabase();
  // The test server listens on this machine only.
  const run = (url: string, ...args: string[]) => ['run', '--network', 'host', '--env', `DATABASE_URL=${url}`, ...args];
  const folder = mkdtempSync(join(tmpdir(), 'image-'));
  const containers: string[] = [];

  beforeAll(async () => {
    const base = process.env.NODE_IMAGE ? ['--build-arg', `NODE_IMAGE=${process.env.NODE_IMAGE}`] : [];
    const built = await docker('build', '--network', 'host', ...base, '--tag', IMAGE, '.');
    expect(built).toMatchObject({ exitCode: 0 });
  });
  afterAll(async () => {
    for (const name of containers) await docker('rm', '--force', name);
    await docker('rmi', '--force', IMAGE, `${IMAGE}-relay`);
    rmSync(folder, { recursive: true });
  });

  /** A container in the background, and what it has printed when it has been told to stop, as `docker stop` does. */
  function background(image: string, url: string, ...args: string[]) {
    const name = `${IMAGE}-${containers.length}`;
    containers.push(name);
    const child = spawn('docker', run(url, '--name', name, image, ...args), { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = Promise.all([text(child.stdout), text(child.stderr)]).then((texts) => texts.join(''));
    return {
      logs: async () => (await docker('logs', name)).output,
      stop: async (): Promise<Finished> => {
        // Longer than the test may take: a program that is not told would not end.
        await docker('stop', '--time', '3600', name);
        const { output: exitCode } = await docker('inspect', '--format', '{{.State.ExitCode}}', name);
        return { exitCode: Number(exitCode), output: await output };
      },
    };
  }

  const until = async (holds: () => Promise<boolean>) => {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 100));
  };

  test('is a migration job', async () => {
    expect(await docker(...run(empty.url, '--rm', IMAGE, 'migrate'))).toMatchObject({ exitCode: 0 });
    expect(await docker(...run(empty.url, '--rm', IMAGE, 'status'))).toMatchObject({ exitCode: 0 });
  });

  test('has no database by default, and runs as an ordinary user', async () => {
    const { exitCode, output } = await docker('run', '--rm', IMAGE, 'status');
    expect({ exitCode, output }).toEqual({ exitCode: 64, output: expect.stringContaining('must be set') as string });
    expect((await docker('run', '--rm', '--entrypoint', 'id', IMAGE, '-un')).output).toBe('node\n');
  });

  test('is a relay that ends with 0 when Docker stops it, with a publisher as the page puts it in', async () => {
    const [dockerfile] = new DocPage('docs/how-to/run-a-relay.md').blocksOf('As its own deployment', 'dockerfile');
    writeFileSync(join(folder, 'Dockerfile'), dockerfile!.replace('payment-events-db', IMAGE));
    writeFileSync(
      join(folder, 'publisher.mjs'),
      `import 'payment-events-db/amqp';
       import 'payment-events-db/sqs';
       export default { publish: async (messages) => messages.map(() => ({ published: true })) };`,
    );
    expect(await docker('build', '--tag', `${IMAGE}-relay`, folder)).toMatchObject({ exitCode: 0 });
    const relay = background(`${IMAGE}-relay`, database.url);
    await until(async () => (await relay.logs()).includes('"event":"started"'));
    const { exitCode, output } = await relay.stop();
    expect(output).toMatch(/"stopping","signal":"SIGTERM".*\n.*"stopped"/);
    expect(exitCode).toBe(0);
  });

  test('ends at SIGTERM, while a command waits for the database', async () => {
    const holder = await database.connect();
    await holder.query('BEGIN; LOCK TABLE payment_events_db_migrations');
    const status = background(IMAGE, database.url, 'status');
    const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await until(async () => (await database.query(waiting)).length > 0);
    expect(await status.stop()).toMatchObject({ exitCode: 143 });
    await holder.query('ROLLBACK');
  });
});
