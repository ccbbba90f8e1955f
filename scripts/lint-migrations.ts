import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MigrationInterface } from 'typeorm';
import { migrations } from '../src/migrations';
import { nameOf } from '../src/migrator/history';
import { statementsOf } from '../src/migrator/plan';
import { checkMigrations } from './support/check-migrations';

const ROOT = join(__dirname, '..');

/** Lints the SQL that every migration sends, up and down, and checks what squawk cannot know. */
async function lintMigrations(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'payment-events-migrations-'));
  try {
    const problems = await checkMigrations(ROOT);
    for (const problem of problems) console.error(problem);
    const files: string[] = [];
    for (const Migration of migrations) files.push(...(await writeSql(new Migration(), folder)));
    const squawk = join(ROOT, 'node_modules/.bin/squawk');
    const { status } = spawnSync(squawk, ['--reporter', 'gcc', '--config', join(ROOT, '.squawk.toml'), ...files], {
      stdio: 'inherit',
    });
    if (status !== 0 || problems.length > 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function writeSql(migration: MigrationInterface, folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const direction of ['up', 'down'] as const) {
    const file = join(folder, `${nameOf(migration)}.${direction}.sql`);
    writeFileSync(file, (await statementsOf(migration, direction)).map((sql) => `${sql};\n`).join('\n'));
    files.push(file);
  }
  return files;
}

void lintMigrations();
