import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

// Sends the process SIGTERM when its own input ends: also where this process dies.
const UNTIL_INPUT_ENDS = `
exec 3<&0
"$@" </dev/null 3<&- & process=$!
{ cat <&3 >/dev/null; kill -TERM $process 2>/dev/null; } &
exec 3<&- 2>/dev/null
wait $process
`;

/** A process that does not outlive this one. */
export class Service {
  #child;

  constructor(name, command, { cwd, env, quiet = false } = {}) {
    // Not of the terminal's process group: Ctrl-C is for this process alone, which then stops all in their order.
    this.#child = spawn('/bin/sh', ['-c', UNTIL_INPUT_ENDS, 'sh', ...command], {
      cwd,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['pipe', quiet ? 'ignore' : 'inherit', 'inherit'],
    });
    this.#child.stdin.on('error', () => undefined);
    this.ended = once(this.#child, 'exit').then(([code]) => {
      this.#child.stdin.end();
      return `${name} has ended with exit code ${code}.`;
    });
  }

  /** As a platform does: SIGTERM, and time to finish. */
  async stop() {
    this.#child.stdin.end();
    await this.ended;
  }
}

/** A port that nobody listens on at this moment. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await once(server.close(), 'close');
  return port;
}
