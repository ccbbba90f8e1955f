import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compiled } from '../jest/compiled';
import { runToEnd } from '../processes/run-to-end';

/**
 * A folder in which the shell blocks of a page run one after the other, as their reader would type them: what one exports, the next
 * one has. `npx payment-events-db` is the program of this checkout.
 */
export class PageShell {
  readonly folder = mkdtempSync(join(tmpdir(), 'page-'));
  #exports = '';

  /** @param env beside what the process has; and what stands in the place of words of the page, such as addresses */
  constructor(
    private readonly env: Readonly<Record<string, string>> = {},
    private readonly words: Readonly<Record<string, string>> = {},
  ) {
    const program = `'${process.execPath}' '${compiled('src/cli/main.ts')}'`;
    writeFileSync(join(this.folder, 'npx'), `#!/bin/sh\nshift\nexec ${program} "$@"\n`);
    chmodSync(join(this.folder, 'npx'), 0o755);
  }

  /** The text of a block with the test's words in it. */
  fill(text: string): string {
    return Object.entries(this.words).reduce((filled, [word, value]) => filled.replaceAll(word, value), text);
  }

  /** Writes a file that the page has its reader write. */
  write(name: string, content: string): void {
    writeFileSync(join(this.folder, name), this.fill(content));
  }

  /**
   * @returns what was printed on standard output
   * @throws Error with all that was printed, where a command fails or hangs
   */
  async run(script: string): Promise<string> {
    const filled = this.fill(script);
    const stdout = await runToEnd('bash', ['-euo', 'pipefail', '-c', `${this.#exports}${filled}`], {
      cwd: this.folder,
      env: {
        ...process.env,
        FORCE_COLOR: undefined,
        NO_COLOR: '1',
        ...this.env,
        PATH: `${this.folder}:${process.env.PATH}`,
      },
    });
    this.#exports += [...filled.matchAll(/^export .*\n/gm)].join('');
    return stdout;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
