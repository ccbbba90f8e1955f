import { join } from 'node:path';
import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { migrations } from '../../src/migrations';
import { checksumOf } from '../../src/migrator/planned-sql';
import { checksumsHere, checksumsIn } from '../support/migrations/checksums';

const ROOT = join(__dirname, '../..');
describe('the checksum of a migration', () => {
  let checksums: string[];
  beforeAll(async () => {
    checksums = await checksumsHere();
  });

  test('is its own', () => {
    expect(new Set(checksums).size).toBe(migrations.length);
    for (const checksum of checksums) expect(checksum).toMatch(/^[0-9a-f]{64}$/);
  });

  test('is the same where tsx runs the source', async () => {
    expect(await checksumsIn(join(ROOT, 'src'), '--import', 'tsx')).toEqual(checksums);
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
