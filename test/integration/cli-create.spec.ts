import { randomBytes } from 'node:crypto';
import { createCommand } from '../../src/cli/commands/create';
import { createDatabaseIfMissing, createSchemaIfMissing } from '../../src/database/create-database';
import { createProgram } from '../../src/cli/program';
import { readConfig } from '../../src/config';
import { cliHere, cliProcess, programHere } from '../support/processes/cli';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase({ empty: true });
const roles = useRoles(database);
const made: string[] = [];
afterAll(async () => {
  for (const name of made) await database.query(`DROP DATABASE IF EXISTS "${name.replaceAll('"', '""')}" WITH (FORCE)`);
});

/** The URL of a database that is not there yet, dropped after the last test. */
function missing(suffix = '', of = database.url): string {
  const name = `${database.name}_${randomBytes(3).toString('hex')}${suffix}`;
  made.push(name);
  return of.replace(database.name, encodeURIComponent(name));
}
const nameIn = (url: string) => decodeURIComponent(new URL(url).pathname.slice(1));
const encodingOf = (url: string) =>
  database.query('SELECT pg_encoding_to_char(encoding) AS encoding FROM pg_database WHERE datname = $1', [nameIn(url)]);
const create = (url: string, ...args: string[]) => cliHere(url, createCommand(), args);

test('makes the database of DATABASE_URL in UTF-8, and says of one that is there that it is, with 0', async () => {
  const url = missing();
  const said = new RegExp(`^The database ${nameIn(url)} was made, at \\S+:\\d+\\.\n$`);
  expect(await cliProcess(url, ['create'])).toEqual({
    stdout: expect.stringMatching(said) as string,
    ...{ stderr: '', exitCode: 0 },
  });
  expect(await encodingOf(url)).toEqual([{ encoding: 'UTF8' }]);
  expect(await create(url)).toMatchObject({
    stdout: expect.stringContaining('is there already') as string,
    exitCode: 0,
  });
});

test('prints JSON with --json', async () => {
  const url = missing();
  for (const created of [true, false]) {
    const { stdout, exitCode } = await create(url, '--json');
    expect(JSON.parse(stdout)).toEqual({ database: { name: nameIn(url), created } });
    expect(exitCode).toBe(0);
  }
});

test('makes a database of any name that pg can connect to', async () => {
  const url = missing(` a"b;'c`);
  expect(await create(url)).toMatchObject({ stderr: '', exitCode: 0 });
  expect(await encodingOf(url)).toHaveLength(1);
});

test('makes the schema that PAYMENT_EVENTS_DB_SCHEMA names, and migrate fills it', async () => {
  const env = { DATABASE_URL: missing(), PAYMENT_EVENTS_DB_SCHEMA: 'payments' };
  const first = await programHere(createProgram(), ['create', '--json'], env);
  expect(JSON.parse(first.stdout)).toMatchObject({ schema: { name: 'payments', created: true } });
  const again = await programHere(createProgram(), ['create'], env);
  expect(again.stdout).toContain('The schema payments is there already');
  expect(await programHere(createProgram(), ['migrate'], env)).toMatchObject({ exitCode: 0 });
});

test('of many at once one makes the database and the schema, and the others find them, every time', async () => {
  for (let round = 0; round < 8; round++) {
    const { databaseUrl } = readConfig({ DATABASE_URL: missing() });
    for (const make of [
      () => createDatabaseIfMissing(databaseUrl),
      () => createSchemaIfMissing(databaseUrl, 'payments'),
    ]) {
      const outcomes = await Promise.all(Array.from({ length: 6 }, make));
      expect(outcomes.filter(Boolean)).toHaveLength(1);
    }
  }
});

describe('a user without the right', () => {
  test('to make a database is told who can, and by which statement', async () => {
    const url = missing('', roles.url('owner'));
    const { stdout, stderr, exitCode } = await create(url, '--json');
    const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
    expect({ stdout, exitCode, code: error.code }).toEqual({ stdout: '', exitCode: 4, code: 'CANNOT_CREATE' });
    const [statement] = /CREATE DATABASE .*'UTF8'/.exec(error.message)!;
    expect(error.message).toContain(`ALTER ROLE "${roles.owner}" CREATEDB`);
    expect(await encodingOf(url)).toEqual([]);

    await database.query(statement);
    expect(await create(url)).toMatchObject({
      stdout: expect.stringContaining('is there already') as string,
      exitCode: 0,
    });
    await database.query(`DROP DATABASE "${nameIn(url)}"`);
  });

  test('to make a schema is told as well, and needs no right where it is there', async () => {
    await database.query(`CREATE ROLE ${roles.prefix}_reader LOGIN PASSWORD 'test'`);
    const url = roles.url('owner').replace(roles.owner, `${roles.prefix}_reader`);
    const run = () =>
      programHere(createProgram(), ['create'], { DATABASE_URL: url, PAYMENT_EVENTS_DB_SCHEMA: 'payments' });
    expect(await run()).toMatchObject({
      stderr: expect.stringMatching(/may not create a schema.*CREATE SCHEMA payments AUTHORIZATION "/s) as string,
      exitCode: 4,
    });
    await database.query('CREATE SCHEMA payments');
    expect(await run()).toMatchObject({ stderr: '', exitCode: 0 });
  });
});

test('a maintenance database that is not there is named, and another one does', async () => {
  const url = missing();
  expect(await create(url, '--maintenance-db', 'nowhere_at_all')).toMatchObject({
    stderr: expect.stringMatching(
      /nowhere_at_all, and it does not exist \(3D000\)\. Name one with --maintenance-db/,
    ) as string,
    exitCode: 4,
  });
  expect(await create(url, '--maintenance-db', database.name)).toMatchObject({ stderr: '', exitCode: 0 });
});
