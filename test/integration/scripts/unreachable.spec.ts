import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { useTestDatabase } from '../../support/database/use-test-database';
import { changedUrl, runScript } from './run-script';

const PASSWORD = 'hunter2%40sea';

describe('where the scripts find no database', () => {
  const database = useTestDatabase({ empty: true });

  test('the script says what it tried and how to start a server', async () => {
    const port = await closedPort();
    const url = `postgresql://jo:${PASSWORD}@127.0.0.1:${port}/payments`;
    const { exitCode, output } = await runScript('migrate_payment_events_db.sh', url);
    expect(output).toContain(`No PostgreSQL server answers at 127.0.0.1:${port} (database payments, user jo)`);
    expect(output).toContain('npm run db:start');
    expect(output).toContain('docker compose -f infrastructure/docker/docker-compose.yml up');
    expect(exitCode).toBe(3);
  });

  test('a name that does not resolve is the network, not a server to start', async () => {
    const url = `postgresql://jo:${PASSWORD}@db.invalid:5432/payments`;
    const { exitCode, output } = await runScript('migrate_payment_events_db.sh', url);
    expect(output).toContain('No PostgreSQL server answers at db.invalid:5432');
    expect(output).toContain('Check the host and port');
    expect(output).not.toContain('db:start');
    expect(exitCode).toBe(3);
  });

  test('a program that is not PostgreSQL and never answers ends in a time-out', async () => {
    const silent = await listen();
    const { port } = silent.address() as { port: number };
    const url = `postgresql://jo:${PASSWORD}@127.0.0.1:${port}/payments`;
    const { exitCode, output } = await runScript('migrate_payment_events_db.sh', url).finally(() => silent.close());
    expect(output).toContain(`No PostgreSQL server answers at 127.0.0.1:${port}`);
    expect(exitCode).toBe(3);
  });

  // A role that does not exist is refused under every kind of authentication that a test server may use.
  test('a login that is refused is named, and for whom', async () => {
    const url = changedUrl(database.url, { username: 'nobody_by_this_name', password: PASSWORD });
    const { exitCode, output } = await runScript('migrate_payment_events_db.sh', url);
    expect(output).toMatch(/refuses the login of user nobody_by_this_name \(28(P01|000)\)/);
    expect(output).toContain('percent-encoded');
    expect(exitCode).toBe(3);
  });

  test.each(['migrate_payment_events_db.sh', 'reset_payment_events_db.sh'])(
    '%s names a DATABASE_URL that is none',
    async (file) => {
      const { exitCode, output } = await runScript(file, `postgresql://jo:${PASSWORD}@127.0.0.1:5432`);
      expect(output).toContain('DATABASE_URL must look like');
      expect(exitCode).toBe(64);
    },
  );

  test.each(['migrate_payment_events_db.sh', 'reset_payment_events_db.sh'])(
    '%s has no database by default in production, and starts no server',
    async (file) => {
      const { exitCode, output } = await runScript(file, '', [], { NODE_ENV: 'production' });
      expect(output).toMatch(/^DATABASE_URL must be set/);
      expect(exitCode).toBe(64);
    },
  );

  test('an unknown option is refused with the help', async () => {
    const { exitCode, output } = await runScript('migrate_payment_events_db.sh', database.url, ['--sead']);
    expect(output).toContain("unknown option '--sead'");
    expect(output).toContain('Exit codes:');
    expect(exitCode).toBe(64);
  });
});

async function listen(): Promise<Server> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

async function closedPort(): Promise<number> {
  const server = await listen();
  const { port } = server.address() as { port: number };
  await once(server.close(), 'close');
  return port;
}
