import { CommanderError } from 'commander';
import pc from 'picocolors';
import { QueryFailedError } from 'typeorm';
import { readConfig } from '../config';
import { type DatabaseAddress, databaseAddress } from '../database/database-address';
import { ExitCode } from './exit-codes';
import { explainError, type Explanation } from './explain-error';

/**
 * Says on standard error what is wrong: for people, or as one line of JSON, the last one there:
 * `{"error":{"code":"28P01","message":"…","exitCode":3}}`. Standard output has results alone.
 *
 * @param known.exitCode where it is another than that of such an error
 * @returns the exit code that goes with it
 */
export function reportError(error: unknown, { json, ...known }: { json: boolean; exitCode?: ExitCode }): ExitCode {
  // Commander has printed what was asked for: the help, or the version.
  if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
  const explanation = error instanceof CommanderError ? usage(error) : explainError(error, addressIfKnown());
  const { code, text, exitCode } = { ...explanation, ...known };
  if (json) {
    console.error(JSON.stringify({ error: { code, message: text, exitCode } }));
    return exitCode;
  }
  // Commander has said it already, with the help.
  if (!(error instanceof CommanderError)) console.error(pc.red(text));
  // Last, since it may be long. Values travel as parameters.
  if (error instanceof QueryFailedError) console.error(`The statement was:\n${error.query}`);
  return exitCode;
}

function usage({ code, message }: CommanderError): Explanation {
  const text = code === 'commander.help' ? 'Name a command: see --help.' : message.replace(/^error: /, '');
  return { code: 'USAGE', text, exitCode: ExitCode.usage };
}

function addressIfKnown(): DatabaseAddress | undefined {
  try {
    return databaseAddress(readConfig().databaseUrl);
  } catch {
    return undefined;
  }
}
