import { InvalidCommandError } from '../errors';
import { readInput } from './read-input';

/**
 * Checks a command against the rules on its class before anything is sent. An optional property that is null counts as
 * not given. Properties that the class does not have are left out: a command may be any object that has what it takes.
 *
 * @throws InvalidCommandError naming each property and what it should be, never its value
 */
export function validateCommand<T extends object>(Command: new () => T, input: T): T {
  const { value, problems } = readInput(Command, input, 'ignored');
  if (problems) throw new InvalidCommandError(Command.name, problems);
  return value;
}
