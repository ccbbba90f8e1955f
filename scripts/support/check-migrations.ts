import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { migrations } from '../../src/migrations';
import { checksumOf, plannedSql } from '../../src/migrator/planned-sql';

/** The released migrations, by name, and what they do: `npm run migration:release` adds the new ones. */
export const RELEASED = 'src/migrations/released.json';

/** What is wrong with the migrations of a checkout, a line each, with what to do. */
export async function checkMigrations(root: string): Promise<string[]> {
  const files = readdirSync(join(root, 'src/migrations')).filter((file) => /^\d/.test(file));
  const sources = new Map(files.map((file) => [file, readFileSync(join(root, 'src/migrations', file), 'utf8')]));
  const tests = readSpecs(join(root, 'test'));
  const released = JSON.parse(readFileSync(join(root, RELEASED), 'utf8')) as Record<string, string>;
  const problems: string[] = [];
  let latest = 0;

  for (const [file, source] of sources) {
    const say = (problem: string) => problems.push(`src/migrations/${file}: ${problem}`);
    const [, timestamp, title] = /^(\d+)-(\w+)\.ts$/.exec(file) ?? [];
    const name = `${title}${timestamp}`;
    const Migration = migrations.find((migration) => migration.name === name);
    if (!Migration) {
      say(`exports no class ${name} that src/migrations/index.ts lists.`);
      continue;
    }
    if (Number(timestamp) <= latest) say('is not newer than the migration before it.');
    latest = Number(timestamp);
    if (!isRealTime(latest)) say('has a made-up time. Take that of npm run migration:create.');
    if (!/^ \* Locks\b/m.test(source)) say('does not say which locks it takes and for how long: " * Locks: …".');
    const { down } = await plannedSql(new Migration());
    if (down.length === 0) say('has an empty down().');
    if (!tests.includes(`'${title}'`) && !tests.includes(`${name}`)) say(`has no test that names '${title}'.`);
    const checksum = released[name];
    if (checksum && checksum !== (await checksumOf(new Migration()))) {
      say('has been released and was changed since. Restore it, and make the change by a new migration.');
    }
  }
  for (const name of Object.keys(released)) {
    if (!migrations.some((migration) => migration.name === name))
      problems.push(`${RELEASED}: ${name} is gone. Restore it.`);
  }
  return problems;
}

/** After this package began, not in the future, and not rounded. */
function isRealTime(time: number): boolean {
  return time > Date.UTC(2025, 0) && time < Date.now() + 3_600_000 && time % 1_000 !== 0;
}

function readSpecs(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.spec.ts'))
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .join('\n');
}
