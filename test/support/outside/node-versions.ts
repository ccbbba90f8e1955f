import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import manifest from '../../../package.json';
import { onceARun } from '../jest/once-a-run';
import { shell } from '../processes/shell';

/** The first version of each line that the package promises to run on, such as `22.13.0`. */
export const NODE_VERSIONS = [...manifest.engines.node.matchAll(/(?:\^|>=)(\d+\.\d+\.\d+)/g)].map(
  ([, version]) => version!,
);

/** npm has Node.js itself, in packages without install scripts. */
const PACKAGE = `node-${process.platform}-${process.arch}`;

/** Installs these versions, once a run. @returns the folder of each one's `node` */
export const nodeFolders = (): Promise<Record<string, string>> =>
  onceARun('Node.js', async (folder) => {
    const aliases = NODE_VERSIONS.map((version) => `node-${version}@npm:${PACKAGE}@${version}`).join(' ');
    await writeFile(join(folder, 'package.json'), '{ "private": true }');
    const install = `npm install --prefer-offline --no-audit --no-fund --ignore-scripts ${aliases}`;
    const { exitCode, output } = await shell(install, { cwd: folder });
    if (exitCode !== 0) throw new Error(output);
    return Object.fromEntries(
      NODE_VERSIONS.map((version) => [version, join(folder, 'node_modules', `node-${version}`, 'bin')]),
    );
  });
