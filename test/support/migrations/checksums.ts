import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { migrations } from '../../../src/migrations';
import { checksumOf } from '../../../src/migrator/planned-sql';

const ROOT = join(__dirname, '../../..');

/** Prints the checksums of the migrations in the folder that it is given. */
const PRINT_CHECKSUMS = `
  const { migrations } = require(process.argv[1] + '/migrations');
  const { checksumOf } = require(process.argv[1] + '/migrator/planned-sql');
  Promise.all(migrations.map((Migration) => checksumOf(new Migration()))).then((checksums) => {
    console.log(JSON.stringify(checksums));
  });`;

/** The checksums of the migrations in a folder as `src`, by a process of its own. */
export async function checksumsIn(folder: string, ...nodeOptions: string[]): Promise<unknown> {
  const args = [...nodeOptions, '--eval', PRINT_CHECKSUMS, folder];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  return JSON.parse(stdout);
}

/** Those that Jest gives them. */
export const checksumsHere = (): Promise<string[]> =>
  Promise.all(migrations.map((Migration) => checksumOf(new Migration())));
