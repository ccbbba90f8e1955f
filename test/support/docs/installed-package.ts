import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import manifest from '../../../package.json';
import { type PackedPackage } from '../processes/packed-package';
import { shell } from '../processes/shell';

const ROOT = join(__dirname, '../../..');

/** An empty project that has installed the packed package: its dependencies are linked, so that no registry is asked. */
export class InstalledPackage {
  private constructor(
    readonly folder: string,
    private readonly packed: PackedPackage,
  ) {}

  static async create(packed: PackedPackage): Promise<InstalledPackage> {
    const folder = await mkdtemp(join(tmpdir(), 'payment events db consumer '));
    const installed = new InstalledPackage(folder, packed);
    await installed.#install();
    return installed;
  }

  /** Runs a command line in the project. */
  async run(command: string, env: NodeJS.ProcessEnv = {}) {
    return await shell(command, { cwd: this.folder, env });
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  async #install(): Promise<void> {
    const modules = join(this.folder, 'node_modules');
    const own = join(modules, manifest.name);
    await mkdir(own, { recursive: true });
    const unpacked = await this.run(
      `tar -xzf '${this.packed.tarball}' --strip-components=1 -C 'node_modules/${manifest.name}'`,
    );
    expect(unpacked).toMatchObject({ exitCode: 0 });
    for (const [command, file] of Object.entries(manifest.bin)) {
      await mkdir(join(modules, '.bin'), { recursive: true });
      await symlink(join(own, file), join(modules, '.bin', command));
    }
    for (const name of dependenciesOfAService()) {
      await mkdir(join(modules, name, '..'), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), join(modules, name));
    }
    await writeFile(join(this.folder, 'package.json'), '{ "private": true }');
  }
}

/** What npm would install for the package and for a NestJS service: nothing else can be reached from the project. */
function dependenciesOfAService(): string[] {
  const { dependencies, peerDependencies } = manifest;
  return [...Object.keys({ ...dependencies, ...peerDependencies }), '@nestjs/config', '@types/node'];
}
