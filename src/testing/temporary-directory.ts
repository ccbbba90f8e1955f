import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync } from 'node:fs';
import { type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { locateData } from './server-user';

// Waits on its input until this process is gone, by whatever death, then stops the server and removes the folders.
// A process number alone is not trusted: the file may be old and the number in use by another program.
const JANITOR = `
data=$1; shift
read -r minutes && sleep $((minutes * 60))
if pid=$(head -n 1 "$data/postmaster.pid") && { [ ! -r "/proc/$pid/cmdline" ] || grep -qF -- "$data" "/proc/$pid/cmdline"; }; then
  kill -QUIT "$pid"
  while [ -e "$data/postmaster.pid" ] && kill -0 "$pid"; do sleep 0.05; done
fi
rm -rf -- "$@"
`;

/** How long to keep it. */
class KeepOptions {
  @WholeNumber(1, 7 * 24 * 60)
  minutes: number;
}

/**
 * A place for data that does not outlive the process that made it, nor does a server that runs on it: not after Ctrl-C,
 * not after `kill -9`.
 *
 * ```ts
 * const folder = new TemporaryDirectory();
 * const server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
 * await folder.remove();
 * ```
 */
export class TemporaryDirectory {
  /** For {@link EmbeddedServer.start}, which makes it. */
  readonly dataDirectory: string;
  readonly #janitor: ChildProcess;

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'payment-events-db-'));
    chmodSync(folder, 0o755);
    this.dataDirectory = locateData(join(folder, 'data')).path;
    const args = ['-c', JANITOR, 'sh', this.dataDirectory, folder, dirname(this.dataDirectory)];
    this.#janitor = spawn('/bin/sh', args, { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    this.#janitor.unref();
    (this.#janitor.stdin as Socket).unref();
  }

  /**
   * Leaves folder and server for so many minutes, for someone to look at, even when this process ends: 1 to a week.
   *
   * @throws ConfigurationError
   */
  keepFor(minutes: number): void {
    validateSettings({ KeepOptions }, { minutes });
    this.#janitor.stdin?.write(`${minutes}\n`);
  }

  /** Stops the server that runs here, if any, and removes the folder. */
  async remove(): Promise<void> {
    if (this.#janitor.exitCode !== null) return;
    this.#janitor.ref();
    this.#janitor.stdin?.end();
    await once(this.#janitor, 'exit');
  }
}
