import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { listTestDatabases } from '../../../src/testing';
import { dropDatabase } from '../../../src/testing/test-database';
import { withClient } from '../../../src/testing/with-client';
import { currentTestRun, publishTestRun } from '../../../src/testing/test-run';
import { DatabaseOfFile, useTestDatabase } from '../../support/database/use-test-database';

const database = useTestDatabase();

it('gives a file a database of its own', async () => {
  expect(await database.query('SELECT current_database() AS name')).toEqual([{ name: database.name }]);
});

it('orders and encodes text the same way on every server', async () => {
  const rows = await database.query(`
    SELECT pg_encoding_to_char(encoding) AS encoding, datlocprovider AS provider, datcollate AS locale
    FROM pg_database WHERE datname = current_database()`);
  expect(rows).toEqual([{ encoding: 'UTF8', provider: 'c', locale: 'C' }]);
});

it('fails the files that need a migrated database, and only those, when the migrations are broken', async () => {
  const run = currentTestRun();
  const file = new DatabaseOfFile();
  try {
    publishTestRun({ ...run, templateError: 'no such column' });
    await expect(file.create({})).rejects.toThrow('no such column');
    await file.create({ empty: true });
    expect(await file.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  } finally {
    publishTestRun(run);
    await file.finish({ path: __filename, failed: false });
  }
});

describe('a run of its own', () => {
  const { serverUrl, prefix } = currentTestRun();
  let before: string[];

  const runFixture = (name: string): Promise<{ passed: boolean; output: string }> => {
    const root = join(__dirname, '../../..');
    const jest = join(root, 'node_modules/jest/bin/jest.js');
    const args = [jest, '--testMatch', `**/test/fixtures/testing/${name}.fixture.ts`];
    const env = { ...process.env, TEST_DATABASE_URL: serverUrl, CI: '', FORCE_COLOR: '0' };
    return new Promise((done) => {
      execFile(process.execPath, args, { cwd: root, env }, (error, stdout, stderr) => {
        done({ passed: !error, output: stdout + stderr });
      });
    });
  };
  /** Those of this run come and go with the files that are tested beside this one. */
  const newDatabases = async () =>
    (await listTestDatabases(serverUrl, 'payment_events_test')).filter(
      (name) => !before.includes(name) && !name.startsWith(`${prefix}_`),
    );

  beforeEach(async () => {
    before = await listTestDatabases(serverUrl, 'payment_events_test');
  });

  it('fails for a connection that is left open, and names it', async () => {
    const { passed, output } = await runFixture('leaks');
    expect(output).toMatch(/1 connections were left open:\s+forgetful \(idle\)/);
    expect(passed).toBe(false);
    expect(await newDatabases()).toEqual([]);
  });

  it('passes when the file closes its connections in its last hook', async () => {
    expect(await runFixture('closes-late')).toMatchObject({ passed: true });
    expect(await newDatabases()).toEqual([]);
  });

  it('keeps the database of a file that fails and tells its address', async () => {
    const { passed, output } = await runFixture('fails');
    expect(passed).toBe(false);
    const [kept, ...others] = await newDatabases();
    expect(others).toEqual([]);
    const url = output.split('\n').find((line) => line.endsWith(`/${kept}`));
    const { rows } = await withClient(url!.trim(), (client) => client.query('TABLE evidence'));
    expect(rows).toEqual([{ id: 1 }]);
    await dropDatabase(serverUrl, kept!);
  });
});
