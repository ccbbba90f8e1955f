import { CommanderError } from 'commander';
import pc from 'picocolors';
import { QueryFailedError } from 'typeorm';
import { readConfig } from '../config';
import { type DatabaseAddress, databaseAddress } from '../database/database-address';
import { type ShardEntry } from '../shards/shard-map';
import { ExitCode } from './exit-codes';
import { explainError, type Explanation, type Remedy } from './explain-error';

/** Advice of the place where a command is run, to be said after the package's own. */
export type Remedies = Readonly<Record<Remedy, string>>;

interface Known {
  readonly json: boolean;
  /** Where it is another than that of such an error. */
  readonly exitCode?: ExitCode;
  readonly remedies?: Remedies;
  /** Where several databases are worked on by one process: of which it tells. */
  readonly of?: ShardEntry;
}

/**
 * Says on standard error what is wrong: for people, or as one line of JSON, the last one there:
 * `{"error":{"code":"28P01","message":"…","exitCode":3}}`. Standard output has results alone.
 *
 * @returns the exit code that goes with it
 */
export function reportError(error: unknown, { json, remedies, of, ...known }: Known): ExitCode {
  // Commander has printed what was asked for: the help, or the version.
  if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
  const explanation =
    error instanceof CommanderError
      ? usage(error)
      : explainError(error, of ? databaseAddress(of.url) : addressIfKnown());
  const { code, exitCode, remedy } = { ...explanation, ...known };
  const text = [explanation.text, ...(remedies && remedy ? [remedies[remedy]] : [])].join('\n');
  if (json) {
    console.error(JSON.stringify({ ...(of && { shard: of.name }), error: { code, message: text, exitCode } }));
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
