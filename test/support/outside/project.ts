import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import manifest from '../../../package.json';
import { type PackedPackage } from '../processes/packed-package';
import { type Finished, shell, usersEnvironment } from '../processes/shell';

/** What a command of a project is run with. */
export interface RunOptions {
  env?: NodeJS.ProcessEnv;
  /** The folder of another `node` than that of the tests: npm, npx and what they start run by it as well. */
  node?: string;
}

/** A fresh project of a user's, in a folder with a space in its path, far from this repository and its packages. */
export class OutsideProject {
  readonly #processes: ChildProcess[] = [];

  private constructor(
    readonly folder: string,
    private readonly packed: PackedPackage,
  ) {}

  /** @param packageJson beside `private` */
  static async create(packed: PackedPackage, packageJson: object = {}): Promise<OutsideProject> {
    const project = new OutsideProject(await mkdtemp(join(tmpdir(), 'payments outside ')), packed);
    await project.write({ 'package.json': JSON.stringify({ private: true, ...packageJson }) });
    return project;
  }

  /**
   * Runs an installation as a page shows it, with the tarball in place of the package's name.
   *
   * @param command such as `npm install payment-events-db typeorm`
   */
  async install(command: string, options?: RunOptions): Promise<Finished> {
    const quietly = command.replace(/^npm install/, '$& --prefer-offline --no-audit --no-fund --ignore-scripts');
    const here = quietly.replace(new RegExp(` ${manifest.name}(?= |$)`), ` '${this.packed.tarball}'`);
    return await this.run(here, options);
  }

  /** @param files their contents, by their paths in the project */
  async write(files: Record<string, string>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(this.folder, path)), { recursive: true });
      await writeFile(join(this.folder, path), content);
    }
  }

  async run(command: string, { env = {}, node }: RunOptions = {}): Promise<Finished> {
    return await shell(command, { cwd: this.folder, env: { ...env, ...pathWith(node) } });
  }

  /** Starts a server that says its address on its first line. @returns the address, and what ends it as a platform does */
  async start(args: string[], env: NodeJS.ProcessEnv) {
    const child = spawn(process.execPath, args, {
      ...{ cwd: this.folder, env: { ...usersEnvironment(), ...env } },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#processes.push(child);
    const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
    const [url] = (await Promise.race([once(createInterface(child.stdout), 'line'), exited])) as [string];
    const stop = async () => {
      child.kill('SIGTERM');
      return (await exited)[0] ?? (await exited)[1];
    };
    return { url, stop };
  }

  async remove(): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }
}

const pathWith = (node: string | undefined) => (node ? { PATH: `${node}${delimiter}${process.env.PATH}` } : {});
