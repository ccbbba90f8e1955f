import { type Circus } from '@jest/types';
import { TestEnvironment } from 'jest-environment-node';

/** Called when all hooks of a file have run; what it throws fails the file. */
export type AtEndOfFile = (file: { path: string; failed: boolean }) => Promise<void>;

/** Where a spec file registers its {@link AtEndOfFile} functions: Jest's afterAll hooks know neither the outcome nor if they are the last. */
export interface FileGlobals {
  atEndOfFile: AtEndOfFile[];
}

/** A Node environment in which a file can clean up after its last hook, knowing whether it failed. */
export default class Environment extends TestEnvironment {
  readonly #atEndOfFile: AtEndOfFile[] = [];
  readonly #path: string;
  #failed = false;

  constructor(...args: ConstructorParameters<typeof TestEnvironment>) {
    super(...args);
    this.#path = args[1].testPath;
    (this.global as unknown as FileGlobals).atEndOfFile = this.#atEndOfFile;
  }

  async handleTestEvent(event: Circus.Event, state: Circus.State): Promise<void> {
    if (event.name === 'test_done' && event.test.errors.length > 0) this.#failed = true;
    if (event.name === 'hook_failure' || event.name === 'error') this.#failed = true;
    if (event.name !== 'run_finish') return;
    for (const finish of this.#atEndOfFile.reverse()) {
      await finish({ path: this.#path, failed: this.#failed }).catch((error: Error) =>
        state.unhandledErrors.push(error),
      );
    }
  }
}
