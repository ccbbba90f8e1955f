import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Socket } from 'node:net';

// Waits until its input ends, as it does with the process that writes it, by whatever death. What comes by its input and
// not as an argument is not shown by `ps`. It looks again, since a process of the run may outlive the others by a moment.
const JANITOR = `
const { Client } = require(process.argv[1]);
let input = '';
process.stdin.setEncoding('utf8').on('data', (text) => (input += text)).on('end', async () => {
  const { serverUrl, prefix } = JSON.parse(input);
  const client = new Client({ connectionString: serverUrl, application_name: 'payment-events-db testing' });
  await client.connect();
  const find = "SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname) AS drop FROM pg_database WHERE starts_with(datname, $1)";
  for (let look = 0; look < 2; look++) {
    if (look > 0) await new Promise((resolve) => setTimeout(resolve, 500));
    const { rows } = await client.query(find, [prefix + '_']);
    for (const { drop } of rows) await client.query(drop);
  }
  await client.end();
});
`;

/**
 * Drops the databases of a test run when the process that made it is gone: not only at its end, also after Ctrl-C and
 * after `kill -9`. For a server that outlives the run.
 */
export class DatabaseJanitor {
  readonly #process: ChildProcess;

  /** @param prefix what the names of the databases start with, followed by an underscore */
  constructor(serverUrl: string, prefix: string) {
    const args = ['--eval', JANITOR, require.resolve('pg')];
    const env = { ...process.env, NODE_OPTIONS: '' };
    this.#process = spawn(process.execPath, args, {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      env,
    });
    this.#process.unref();
    const input = this.#process.stdin as Socket;
    input.write(JSON.stringify({ serverUrl, prefix }));
    input.unref();
  }

  /** Drops them now. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.ref();
    this.#process.stdin?.end();
    await once(this.#process, 'exit');
  }

  /** Leaves them for someone to look at. */
  async keep(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.ref();
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}
