import { cp, mkdtemp, rm, symlink, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { type PackedPackage } from './packed-package';
import { shell } from './shell';

const ROOT = join(__dirname, '../../..');
const LEFT_OUT = new Set(['.git', 'node_modules', 'dist', 'dist-bench', '.postgres', 'bench', 'coverage']);

/** What is installed and built there when somebody has started them. */
const isMadeByExamples = (path: string) =>
  /^examples(\/|$)/.test(relative(ROOT, dirname(path))) && /^(node_modules|dist)$|\.tgz$/.test(basename(path));

/**
 * A copy of this repository in a temporary folder with a space in its path, with the same node_modules: what its
 * commands build or generate harms nobody.
 */
export class Checkout {
  private constructor(
    readonly folder: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async create(env: NodeJS.ProcessEnv = {}): Promise<Checkout> {
    const folder = await mkdtemp(join(tmpdir(), 'payment events db '));
    const filter = (path: string) => !LEFT_OUT.has(relative(ROOT, path)) && !isMadeByExamples(path);
    await cp(ROOT, folder, { recursive: true, filter, preserveTimestamps: true });
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    // Else the scripts might take what is installed for outdated, and install into the folder that all share.
    await utimes(join(folder, 'package-lock.json'), 0, 0);
    return new Checkout(folder, env);
  }

  /** What `npm run build` would make, from where this run has made it. */
  async takeBuild({ built }: PackedPackage): Promise<void> {
    await cp(built, join(this.folder, 'dist'), { recursive: true });
  }

  /** Runs a command line as {@link shell} does, in this folder or another. */
  async run(command: string, { cwd = this.folder, env = {} }: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    return await shell(command, { cwd, env: { ...this.env, ...env } });
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
