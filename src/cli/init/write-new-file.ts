import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, link, open, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CannotCreateError } from '../../errors';

/**
 * Makes a file, whole or not at all, and never in the place of one that is there: the text goes to the disk beside it and
 * gets its name afterwards, which the file system refuses where the name is taken.
 *
 * @returns whether it was made; false where one is there
 * @throws CannotCreateError
 */
export async function writeNewFile(path: string, text: string): Promise<boolean> {
  const beside = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.new`);
  try {
    const file = await open(beside, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await nameIt(beside, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    throw new CannotCreateError(
      `${basename(path)} could not be written (${code}): make ${dirname(path)} a folder that this user may write to, with ` +
        'space left, and run this again.',
      { cause: error },
    );
  } finally {
    await rm(beside, { force: true });
  }
}

async function nameIt(beside: string, path: string): Promise<void> {
  try {
    await link(beside, path);
  } catch (error) {
    // A file system without hard links, as on a memory stick.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await copyFile(beside, path, constants.COPYFILE_EXCL);
  }
}
