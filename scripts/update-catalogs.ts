import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrations } from '../src/migrations';
import { readCatalog } from '../src/schema/catalog';
import { migrated, withTestDatabase } from './support/with-migrated-database';

/** The files in src/schema/catalogs with a whole catalog: what each is of, and how many migrations make it. */
const WHOLE = [
  { file: 'alembic-9a82c6d3b654', constant: 'ALEMBIC_9A82C6D3B654', level: 1 },
  { file: 'alembic-09c2b295afcd', constant: 'ALEMBIC_09C2B295AFCD', level: 2 },
  { file: 'target', constant: 'TARGET', level: migrations.length },
];

/** The levels between the last two: their catalogs are kept as what each changes in the one before. */
const BETWEEN = migrations
  .map((_migration, index) => index + 1)
  .filter((level) => level > 2 && level < migrations.length);

/** Writes the committed catalogs again from what the migrations make on a test server. Look at the diff before you commit. */
async function updateCatalogs(): Promise<void> {
  const catalogs = await readCatalogs();
  for (const { file, constant, level } of WHOLE) {
    write(file, `export const ${constant} = ${literal(catalogs[level - 1]!)};\n`);
  }
  const steps = BETWEEN.map((level) => {
    const patch = patchBetween(catalogs[level - 2]!, catalogs[level - 1]!);
    return `  ${migrations[level - 1]!.name}: ${literal(patch)},\n`;
  });
  write('steps', `export const STEPS: Readonly<Record<string, string>> = {\n${steps.join('')}};\n`);
}

/** One a level: of a database with the first migration, with the first two, and so on. */
const readCatalogs = (): Promise<string[]> =>
  withTestDatabase(async (url) => {
    const catalogs: string[] = [];
    while (catalogs.length < migrations.length) {
      catalogs.push(await migrated(url, readCatalog, catalogs.length + 1));
    }
    return catalogs;
  });

/** The hunks of a unified diff without context. The text after each `@@` is the table it is in. */
function patchBetween(before: string, after: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'catalogs-'));
  try {
    writeFileSync(join(folder, 'before'), before);
    writeFileSync(join(folder, 'after'), after);
    execFileSync('git', ['diff', '--no-index', '--unified=0', '--no-color', 'before', 'after'], { cwd: folder });
    return '';
  } catch (error) {
    // git diff ends with 1 where there is a difference.
    const { status, stdout } = error as { status: number; stdout: Buffer };
    if (status !== 1) throw error;
    return stdout.toString().replace(/^(?!@@)[\s\S]*?^(?=@@ )/m, '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const literal = (text: string) => `\`${text.replace(/\\|`|\$\{/g, (special) => `\\${special}`)}\``;

function write(file: string, code: string): void {
  const path = join(__dirname, '../src/schema/catalogs', `${file}.ts`);
  writeFileSync(path, `/** Made by \`npm run catalog:update\`; do not edit. */\n${code}`);
}

void updateCatalogs();
