import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';

// Waits on its input until this process is gone, by whatever death, then kills everything it has started.
const RUN_UNTIL_INPUT_ENDS = `
("$@") </dev/null &
cat >/dev/null
kill -KILL 0
`;

/** A server that ends with this process, whatever ends that. It has a process group of its own. */
export class BoundProcess {
  readonly #shell: ChildProcess;

  /** @param command run as given; what it prints goes to the file `log` */
  constructor(command: string[], { env, log }: { env: Record<string, string>; log: string }) {
    const output = openSync(log, 'a');
    this.#shell = spawn('/bin/sh', ['-c', RUN_UNTIL_INPUT_ENDS, 'sh', ...command], {
      cwd: '/',
      detached: true,
      env: { ...process.env, ...env },
      stdio: ['pipe', output, output],
    });
    closeSync(output);
    this.#shell.unref();
    (this.#shell.stdin as Socket).unref();
  }

  /** As a loss of power does: nothing is flushed, nobody is told. Returns when it is gone. */
  async kill(): Promise<void> {
    if (this.#shell.exitCode !== null || this.#shell.signalCode !== null) return;
    this.#shell.ref();
    const gone = once(this.#shell, 'exit');
    this.#shell.stdin?.end();
    await gone;
  }
}

/** A port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}
