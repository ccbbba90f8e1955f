import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { migrations } from '../../src/migrations';
import { checksumOf } from '../../src/migrator/planned-sql';

const ROOT = join(__dirname, '../..');
const run = promisify(execFile);

/** Prints the checksums of the migrations in the folder that it is given. */
const PRINT_CHECKSUMS = `
  const { migrations } = require(process.argv[1] + '/migrations');
  const { checksumOf } = require(process.argv[1] + '/migrator/planned-sql');
  Promise.all(migrations.map((Migration) => checksumOf(new Migration()))).then((checksums) => {
    console.log(JSON.stringify(checksums));
  });`;

async function checksumsIn(folder: string, ...nodeOptions: string[]): Promise<unknown> {
  const { stdout } = await run(process.execPath, [...nodeOptions, '--eval', PRINT_CHECKSUMS, folder], { cwd: ROOT });
  return JSON.parse(stdout);
}

describe('the checksum of a migration', () => {
  let checksums: string[];
  let folder: string;
  beforeAll(async () => {
    checksums = await Promise.all(migrations.map((Migration) => checksumOf(new Migration())));
    folder = await mkdtemp(join(tmpdir(), 'checksums-'));
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('is its own', () => {
    expect(new Set(checksums).size).toBe(migrations.length);
    for (const checksum of checksums) expect(checksum).toMatch(/^[0-9a-f]{64}$/);
  });

  test('is the same where tsx runs the source', async () => {
    expect(await checksumsIn(join(ROOT, 'src'), '--import', 'tsx')).toEqual(checksums);
  });

  test('is the same in what npm run build makes', async () => {
    // Without types and what is imported, it is made in a moment.
    const tsconfig = {
      extends: join(ROOT, 'tsconfig.build.json'),
      compilerOptions: { outDir: join(folder, 'dist'), declaration: false, noCheck: true, noResolve: true, types: [] },
      include: [join(ROOT, 'src')],
    };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(tsconfig));
    await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder]);
    expect(await checksumsIn(join(folder, 'dist/src'))).toEqual(checksums);
  });

  const before = { up: ['SELECT 1'], down: [] };

  test.each([
    ['a statement more', { up: ['SELECT 1', 'SELECT 2'] }],
    ['another statement', { up: ['SELECT 2'] }],
    ['another way back', { down: ['SELECT 2'] }],
  ])('is another with %s', async (_, change) => {
    expect(await checksumOf(migration({ ...before, ...change }))).not.toBe(await checksumOf(migration(before)));
  });

  test.each([
    ['other white space', { up: [' SELECT\n   1'] }],
    ['other time-outs', { up: [`SET LOCAL lock_timeout = '5s';\nSET LOCAL statement_timeout = 0;\nSELECT 1`] }],
    ['time-outs lifted', { up: ['SET lock_timeout = 0; SET statement_timeout = 0', 'SELECT 1', 'RESET lock_timeout'] }],
  ])('is the same with %s', async (_, change) => {
    expect(await checksumOf(migration({ ...before, ...change }))).toBe(await checksumOf(migration(before)));
  });
});

function migration(statements: Record<'up' | 'down', string[]>): MigrationInterface {
  const send = async (queryRunner: QueryRunner, direction: 'up' | 'down') => {
    for (const statement of statements[direction]) await queryRunner.query(statement);
  };
  return { up: (queryRunner) => send(queryRunner, 'up'), down: (queryRunner) => send(queryRunner, 'down') };
}
