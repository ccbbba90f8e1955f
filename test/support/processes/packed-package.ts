import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onceARun } from '../jest/once-a-run';
import { Checkout } from './checkout';

/** The package as `npm pack` makes it. */
export interface PackedPackage {
  readonly tarball: string;
  /** Its files, by their paths in it. */
  readonly files: readonly string[];
  /** The folder that `npm run build` has made. */
  readonly built: string;
}

/** Packs the package, once a run. */
export const packedPackage = (): Promise<PackedPackage> =>
  onceARun('packed package', async (folder) => {
    const checkout = await Checkout.create();
    const list = join(folder, 'list.json');
    const pack = `npm pack --silent --json --pack-destination '${folder}' > '${list}'`;
    const { exitCode, output } = await checkout.run(`${pack} && mv dist '${folder}'`);
    await checkout.remove();
    if (exitCode !== 0) throw new Error(output);
    const [{ filename, files }] = JSON.parse(await readFile(list, 'utf8')) as [
      { filename: string; files: { path: string }[] },
    ];
    return {
      tarball: join(folder, filename),
      files: files.map(({ path }) => path),
      built: join(folder, 'dist'),
    };
  });
