import { readFile, rm, writeFile, mkdir } from 'node:fs/promises';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { commandsIn, DocPage } from '../docs/doc-page';
import { type Checkout } from '../processes/checkout';

const ROOT = join(__dirname, '../../..');
const PAGE = new DocPage('docs/how-to/use-in-nestjs.md');
const NEST_11 = ['common', 'core', 'platform-express', 'platform-fastify'].map((name) => `@nestjs/${name}@11`);

/** Starts the service of the page on the adapter that it is told, and says where it listens. */
const MAIN = `
  import 'reflect-metadata';
  import { NestFactory } from '@nestjs/core';
  import { FastifyAdapter } from '@nestjs/platform-fastify';
  import { AppModule } from './service';

  async function main() {
    const logger = false;
    const app = process.argv[2] === 'fastify'
      ? await NestFactory.create(AppModule, new FastifyAdapter(), { logger })
      : await NestFactory.create(AppModule, { logger });
    app.enableShutdownHooks();
    await app.listen(0, '127.0.0.1');
    console.log(await app.getUrl());
  }
  void main();`;

/** A service on NestJS 11, in CommonJS, into which the packed package is installed as its page says, with version 11 of all that is Nest's: from the registry. */
export class Nest11Project {
  readonly folder: string;
  readonly #processes: ChildProcess[] = [];

  constructor(private readonly checkout: Checkout) {
    this.folder = `${checkout.folder} nest 11`;
  }

  /** A project as it is before, and then the command of the page. @returns what npm says of that */
  async install(): Promise<{ exitCode: number | null; output: string }> {
    const pack = await this.checkout.run('npm pack --silent --json > packed.json');
    if (pack.exitCode !== 0) throw new Error(pack.output);
    const packed = await readFile(join(this.checkout.folder, 'packed.json'), 'utf8');
    const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
    await mkdir(this.folder);
    await writeFile(join(this.folder, 'package.json'), '{ "private": true }');
    const before = await this.run(`npm install --no-audit --no-fund ${NEST_11.join(' ')} rxjs reflect-metadata`);
    if (before.exitCode !== 0) throw new Error(before.output);
    const [shown] = commandsIn(PAGE.blocks.find(({ language }) => language === 'bash')!.code);
    const command = shown!
      .replace(' payment-events-db ', ` '${join(this.checkout.folder, filename)}' `)
      .replace(/@nestjs\/\w+/g, '$&@11');
    return await this.run(command.replace('npm install', 'npm install --no-audit --no-fund'));
  }

  /** @returns what `tsc` complains about */
  async compile(): Promise<string> {
    const [service] = PAGE.blocks.filter(({ language }) => language === 'ts');
    await writeFile(join(this.folder, 'service.ts'), service!.code);
    await writeFile(join(this.folder, 'main.ts'), MAIN);
    const compilerOptions = {
      ...{ target: 'ES2023', module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0', strict: true },
      ...{ experimentalDecorators: true, emitDecoratorMetadata: true, esModuleInterop: true, skipLibCheck: true },
      ...{ types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] },
    };
    await writeFile(join(this.folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
    return (await this.run(`node '${join(ROOT, 'node_modules/typescript/bin/tsc')}' -p .`)).output;
  }

  /** @returns the address at which it listens, and what ends it as a platform does */
  async start(adapter: 'express' | 'fastify', env: NodeJS.ProcessEnv) {
    const child = spawn(process.execPath, ['main.js', adapter], {
      ...{ cwd: this.folder, env: { ...process.env, NODE_OPTIONS: '', ...env } },
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

  async run(command: string) {
    return await this.checkout.run(command, { cwd: this.folder });
  }

  async remove(): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }
}
