import { type Command } from 'commander';
import { exitCodesHelp } from './exit-codes';
import { type Remedies, reportError } from './report-error';

/**
 * Runs a command line to its end; every failure leaves here, as an explanation and an exit code.
 *
 * @param remedies what helps besides, where the command is run
 */
export async function runCommand(command: Command, remedies?: Remedies): Promise<void> {
  // Asked before the options are read, for among them may be a wrong one.
  const json = process.argv.includes('--json');
  command.addHelpText('afterAll', exitCodesHelp);
  configure(command, json);
  try {
    await command.parseAsync();
  } catch (error) {
    process.exitCode = reportError(error, { json, remedies });
  }
}

/** Commander hands these down only to a subcommand that is made by its parent. */
function configure(command: Command, json: boolean): void {
  command.showHelpAfterError(!json).allowExcessArguments(false).exitOverride();
  if (json) command.configureOutput({ outputError: () => undefined });
  command.commands.forEach((subcommand) => configure(subcommand, json));
}
