import { createHash } from 'node:crypto';
import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** The statements of a migration, each as it is sent. */
export interface PlannedSql {
  readonly up: readonly string[];
  readonly down: readonly string[];
}

/**
 * What a migration sends, found by running it against nothing: it must not depend on what a query answers, so that what
 * it does can be read, printed and run by hand.
 */
export async function plannedSql(migration: MigrationInterface): Promise<PlannedSql> {
  return {
    up: await record((queryRunner) => migration.up(queryRunner)),
    down: await record((queryRunner) => migration.down(queryRunner)),
  };
}

async function record(run: (queryRunner: QueryRunner) => Promise<void>): Promise<string[]> {
  const statements: string[] = [];
  const recorder = {
    // So that nothing is tried again: what is recorded does not fail.
    isTransactionActive: true,
    query: (sql: string, parameters: unknown[] = []) => {
      if (parameters.length > 0) throw new Error(`A migration's statements have no parameters: ${sql}`);
      statements.push(sql);
      return Promise.resolve([]);
    },
  };
  await run(recorder as unknown as QueryRunner);
  return statements;
}

/** Time-outs are settings of ours, not of the migration. */
const SETTINGS = /^(SET|RESET) (LOCAL )?\w+_timeout\b[^;]*(;\s*(SET|RESET) (LOCAL )?\w+_timeout\b[^;]*)*(;\n|$)/;

/** Comments on lines of their own and white space change nothing. */
const essenceOf = (sql: string) =>
  sql
    .replace(SETTINGS, '')
    .replace(/^\s*--.*$/gm, '')
    .replace(/\s+/g, ' ')
    .trim();

/** SHA-256, in hexadecimal, of all that a migration does, up and down. The same for every compiler and loader. */
export async function checksumOf(migration: MigrationInterface): Promise<string> {
  const { up, down } = await plannedSql(migration);
  const essence = [up, down].map((statements) => statements.map(essenceOf).filter((sql) => sql !== ''));
  return createHash('sha256').update(JSON.stringify(essence)).digest('hex');
}
