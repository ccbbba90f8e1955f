import { validateSync, type ValidationError } from 'class-validator';
import { InvalidCommandError } from '../errors';
import { keepsRules } from './keeps-rules';

/**
 * Checks a command against the rules on its class before anything is sent.
 *
 * @throws InvalidCommandError naming each property and what it should be, never its value
 */
export function validateCommand<T extends object>(Command: new () => T, input: T): T {
  const command = Object.assign(new Command(), input);
  if (keepsRules(Command, command)) return command;
  const errors = validateSync(command, { forbidUnknownValues: true, stopAtFirstError: true });
  if (errors.length > 0) throw new InvalidCommandError(Command.name, problemsIn(errors));
  return command;
}

const problemsIn = (errors: ValidationError[]): string[] =>
  errors.flatMap(({ constraints, children }) => [...Object.values(constraints ?? {}), ...problemsIn(children ?? [])]);
