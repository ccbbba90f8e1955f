import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { currentTestRun, type TestRun } from '../../../src/testing/test-run';

type Outcome<T> = { readonly made: T } | { readonly failed: string };

/** What the files of a run share: a folder that is there as long as the run. */
export const folderOf = ({ prefix }: TestRun) => join(tmpdir(), `${prefix} shared`);

/**
 * What is dear to make and what several spec files use: the first that asks makes it, and the others wait for that.
 *
 * @param make makes it in a folder that is there as long as the run; what it returns must survive JSON
 */
export async function onceARun<T>(name: string, make: (folder: string) => Promise<T>): Promise<T> {
  const folder = join(folderOf(currentTestRun()), name);
  const file = join(folder, 'outcome.json');
  if (await happens(mkdir(folder))) {
    const outcome: Outcome<T> = await make(folder).then(
      (made) => ({ made }),
      (error: Error) => ({ failed: error.message }),
    );
    await writeFile(`${file}.new`, JSON.stringify(outcome));
    await rename(`${file}.new`, file);
  }
  while (!(await happens(access(file)))) await delay(100);
  const outcome = JSON.parse(await readFile(file, 'utf8')) as Outcome<T>;
  if ('failed' in outcome) throw new Error(`There is no ${name}: ${outcome.failed}`);
  return outcome.made;
}

const happens = (attempt: Promise<unknown>) =>
  attempt.then(
    () => true,
    () => false,
  );
