import { Readable } from 'node:stream';
import { createProgram } from '../../../src/cli/program';
import { type Finished, programHere } from '../processes/cli';

/** What a command of a page is run with. */
interface Circumstances {
  /** Such as `DATABASE_URL`. */
  readonly env: NodeJS.ProcessEnv;
  /** What stands in the place of words of the page: ids, files. */
  readonly words?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

/** Runs a command of a page in this process, as a shell would. */
export async function runPageCommand(
  command: string,
  { env, words = {}, stdin }: Circumstances,
): Promise<Finished & { readonly command: string }> {
  const [npx, tool, ...args] = wordsOf(command).map((word) => words[word] ?? word);
  expect([npx, tool]).toEqual(['npx', 'payment-events-db']);
  if (stdin !== undefined) {
    // Restored with all else that the run replaces.
    jest.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([stdin]) as typeof process.stdin);
  }
  return { command, ...(await programHere(createProgram(), args, env)) };
}

const wordsOf = (command: string): string[] =>
  [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word!);
