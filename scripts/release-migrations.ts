import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { migrations } from '../src/migrations';
import { checksumOf } from '../src/migrator/planned-sql';
import { RELEASED } from './support/check-migrations';

/** Writes down what the migrations do that are released now. Those released before stay as they are. */
async function releaseMigrations(): Promise<void> {
  const path = join(__dirname, '..', RELEASED);
  const released = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
  for (const Migration of migrations) released[Migration.name] ??= await checksumOf(new Migration());
  writeFileSync(path, `${JSON.stringify(released, null, 2)}\n`);
}

void releaseMigrations();
