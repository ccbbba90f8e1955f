import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { createProgram } from '../../src/cli/program';
import { migrate } from '../../src/migrator/migrator';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../src/testing';
import { aRequest } from '../support/requests/auth-requests';
import { programHere } from '../support/processes/cli';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

interface Place {
  readonly url: string;
  readonly name: string;
}

const on = (url: string, ...args: string[]) => programHere(createProgram(), args, { DATABASE_URL: url });

/** Migrates a database, and puts a request and a message that was given up into it. */
async function fill({ url }: Place): Promise<void> {
  const dataSource = await quietDataSource({ url });
  try {
    await migrate(dataSource, { say: () => undefined });
    await aRequest(dataSource);
    await dataSource.query(
      `INSERT INTO outbox (id, aggregate_id, restaurant_id, message_type, payload, attempts, failed_at)
       VALUES (4711, gen_random_uuid(), gen_random_uuid(), 'x', '', 10, now())`,
    );
  } finally {
    await dataSource.destroy();
  }
}

/** A server that was told to be a standby: it replays what its primary left, and takes connections that only read. */
async function startStandby(folder: TemporaryDirectory): Promise<{ empty: Place; migrated: Place }> {
  const options = { dataDirectory: folder.dataDirectory, settings: UNSAFE_BUT_FAST, notice: () => undefined };
  const primary = await EmbeddedServer.start(options);
  const [empty, migrated] = [await createTestDatabase(primary.url), await createTestDatabase(primary.url)];
  await fill(migrated);
  await primary.stop();
  const signal = join(primary.dataDirectory, 'standby.signal');
  writeFileSync(signal, '');
  const { uid, gid } = statSync(primary.dataDirectory);
  chownSync(signal, uid, gid);
  const standby = await EmbeddedServer.start({ ...options, port: primary.port });
  const client = new Client({ connectionString: standby.url });
  await client.connect();
  const { rows } = await client.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
  await client.end();
  expect(rows).toEqual([{ standby: true }]);
  return { empty, migrated };
}

const given = { migrated: useTestDatabase(), empty: useTestDatabase({ empty: true }) };
const folder = new TemporaryDirectory();
const places: Record<string, { empty: Place; migrated: Place }> = { 'that is set to read only': given };

beforeAll(async () => {
  await fill(given.migrated);
  for (const { name } of Object.values(given)) {
    await given.migrated.query(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
  }
  places['that is a standby'] = await startStandby(folder);
});
afterAll(() => folder.remove());

describe.each(['that is set to read only', 'that is a standby'])('on a server %s', (kind) => {
  test.each([
    { args: ['status'], exitCode: 0 },
    { args: ['history'], exitCode: 0 },
    { args: ['plan'], exitCode: 0 },
    { args: ['migrate', '--dry-run'], exitCode: 0 },
    { args: ['revert', '--dry-run'], exitCode: 0 },
    { args: ['stamp', 'ExpandIndexes', '--dry-run'], exitCode: 0 },
    { args: ['grants', '--dry-run'], exitCode: 0 },
    { args: ['verify'], exitCode: 0 },
    { args: ['requests', 'stuck'], exitCode: 0 },
    { args: ['requests', 'unsettled'], exitCode: 0 },
    { args: ['outbox', 'stats'], exitCode: 0 },
    { args: ['outbox', 'failed'], exitCode: 0 },
  ])('$args looks, as ever', async ({ args, exitCode }) => {
    expect(await on(places[kind]!.migrated.url, ...args)).toMatchObject({ stderr: '', exitCode });
  });

  test('rebuild --dry-run and inspect look too', async () => {
    const { url } = places[kind]!.migrated;
    const client = new Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query<{ id: string }>('SELECT auth_request_id AS id FROM auth_request_state');
    await client.end();
    expect(await on(url, 'rebuild', rows[0]!.id, '--dry-run')).toMatchObject({ stderr: '', exitCode: 0 });
    expect(await on(url, 'inspect', rows[0]!.id)).toMatchObject({ stderr: '', exitCode: 0 });
  });

  test('plan prints what would run in a database that has nothing yet', async () => {
    const { stdout, stderr, exitCode } = await on(places[kind]!.empty.url, 'plan');
    expect(stdout).toContain('-- Run LegacySchema');
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  });

  test.each([
    { args: ['migrate'], at: 'empty' },
    { args: ['revert'], at: 'migrated' },
    { args: ['stamp', 'ExpandIndexes'], at: 'migrated' },
    { args: ['grants', '--role-prefix', 'only_reads'], at: 'migrated' },
    { args: ['outbox', 'requeue', '4711'], at: 'migrated' },
    { args: ['outbox', 'requeue', '--all'], at: 'migrated' },
    { args: ['outbox', 'discard', '4711', '--by', 'ada', '--reason', 'obsolete'], at: 'migrated' },
  ])('$args says that it only reads, and what to do', async ({ args, at }) => {
    const { url, name } = places[kind]![at as 'empty'];
    const { stderr, exitCode } = await on(url, ...args);
    expect(stderr).toMatch(
      new RegExp(`The server at .* only reads \\(25006\\): it is a standby, .* database ${name} `),
    );
    expect(stderr).toContain('Connect to the primary.');
    expect(exitCode).toBe(3);
    const json = (await on(url, ...args, '--json')).stderr.trimEnd().split('\n').at(-1)!;
    const { error } = JSON.parse(json) as { error: { exitCode: number; message: string } };
    expect(error).toMatchObject({ exitCode: 3, message: expect.stringContaining('only reads') as string });
  });
});
