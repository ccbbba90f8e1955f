import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm, symlink, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { text } from 'node:stream/consumers';

const ROOT = join(__dirname, '../../..');
const LEFT_OUT = new Set(['.git', 'node_modules', 'dist', 'dist-bench', '.postgres', 'bench', 'coverage']);

export interface Finished {
  exitCode: number | null;
  /** Standard output and standard error, one after the other. */
  output: string;
}

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
    const filter = (path: string) => !LEFT_OUT.has(relative(ROOT, path));
    await cp(ROOT, folder, { recursive: true, filter, preserveTimestamps: true });
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    // Else the scripts might take what is installed for outdated, and install into the folder that all share.
    await utimes(join(folder, 'package-lock.json'), 0, 0);
    return new Checkout(folder, env);
  }

  /** Runs a command line in a shell, as a user does: nothing of the npm or Jest around it is inherited. */
  async run(command: string, { cwd = this.folder, env = {} }: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_ENV$|NODE_OPTIONS$)/.test(name));
    const child = spawn('bash', ['-c', command], {
      cwd,
      env: { ...Object.fromEntries(inherited), ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const exited = new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject));
    const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
    return { exitCode, output: stdout + stderr } satisfies Finished;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
