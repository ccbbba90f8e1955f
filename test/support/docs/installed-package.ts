import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import manifest from '../../../package.json';
import { type Checkout } from '../processes/checkout';

const ROOT = join(__dirname, '../../..');

/** An empty project that has installed the packed package: its dependencies are linked, so that no registry is asked. */
export class InstalledPackage {
  private constructor(
    /** The project. It lies beside the checkout, not in it: there the checkout's own packages could be reached. */
    readonly folder: string,
    readonly tarball: string,
    /** The files of the package, by their paths in it. */
    readonly packed: readonly string[],
    private readonly checkout: Checkout,
  ) {}

  static async create(checkout: Checkout): Promise<InstalledPackage> {
    const pack = await checkout.run('npm pack --silent --json > packed.json');
    expect(pack).toMatchObject({ exitCode: 0 });
    const json = await readFile(join(checkout.folder, 'packed.json'), 'utf8');
    const [{ filename, files }] = JSON.parse(json) as [{ filename: string; files: { path: string }[] }];
    const folder = `${checkout.folder} consumer`;
    const paths = files.map(({ path }) => path);
    const installed = new InstalledPackage(folder, join(checkout.folder, filename), paths, checkout);
    await installed.#install();
    return installed;
  }

  /** Runs a command line in the project. */
  async run(command: string, env: NodeJS.ProcessEnv = {}) {
    return await this.checkout.run(command, { cwd: this.folder, env });
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  async #install(): Promise<void> {
    const modules = join(this.folder, 'node_modules');
    const own = join(modules, manifest.name);
    await mkdir(own, { recursive: true });
    const unpacked = await this.run(
      `tar -xzf '${this.tarball}' --strip-components=1 -C 'node_modules/${manifest.name}'`,
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
