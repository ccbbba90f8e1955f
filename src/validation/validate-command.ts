import { InvalidCommandError } from '../errors';
import { classIn, type Named } from './named';
import { readInput } from './read-input';

/**
 * Checks a command against the rules on its class before anything is sent. An optional property that is null counts as
 * not given. Properties that the class does not have are left out: a command may be any object that has what it takes.
 *
 * @param named such as `{ AuthorizeCommand }`
 * @throws InvalidCommandError naming each property and what it should be, never its value
 */
export function validateCommand<T extends object>(named: Named<T>, input: T): T {
  const [name, Command] = classIn(named);
  const { value, problems } = readInput(Command, input, 'ignored');
  if (problems) throw new InvalidCommandError(name, problems);
  return value;
}
