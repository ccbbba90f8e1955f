import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(__dirname, '../../..');

/** The pages under a folder, by their paths in it. */
export function pagesIn(folder: string): Map<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'));
  return new Map(paths.toSorted().map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
}

/** What `npm run docs:reference` gives now. */
export async function generatedPages(): Promise<Map<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'reference-'));
  try {
    const tsx = join(ROOT, 'node_modules/tsx/dist/cli.mjs');
    await promisify(execFile)(process.execPath, [tsx, join(ROOT, 'scripts/docs/main.ts'), '--to', folder]);
    return pagesIn(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
