import { type Command, CommanderError } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../config';
import { type DatabaseAddress, databaseAddress } from '../database-address';
import { ExitCode, exitCodesHelp } from './exit-codes';
import { explainError } from './explain-error';

/** Runs a command line to its end; every failure leaves here, as an explanation and an exit code. */
export async function runCommand(command: Command): Promise<void> {
  command.addHelpText('afterAll', exitCodesHelp);
  configure(command);
  try {
    await command.parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** Commander hands these down only to a subcommand that is made by its parent. */
function configure(command: Command): void {
  command.showHelpAfterError().allowExcessArguments(false).exitOverride();
  command.commands.forEach(configure);
}

function report(error: unknown): ExitCode {
  // Commander has said already what is wrong, or printed the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
  const { text, exitCode } = explainError(error, addressIfKnown());
  console.error(pc.red(text));
  return exitCode;
}

function addressIfKnown(): DatabaseAddress | undefined {
  try {
    return databaseAddress(readConfig().databaseUrl);
  } catch {
    return undefined;
  }
}
