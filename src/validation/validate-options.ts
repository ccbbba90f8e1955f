import { ConfigurationError, InvalidCommandError } from '../errors';
import { readInput } from './read-input';

/**
 * Checks the options of one call, by the same rules as a command. An option that there is not is refused, since a slip
 * of the pen would silently mean a default.
 *
 * @throws InvalidCommandError naming each option and what it should be, never its value
 */
export function validateOptions<T extends object>(Options: new () => T, input: T | undefined): T {
  const { value, problems } = readInput(Options, input ?? {}, 'refused');
  if (problems) throw new InvalidCommandError(Options.name, problems);
  return value;
}

/**
 * The same for what is set once, at a start: then it is a setting that is wrong, as it would be in the environment, and
 * no request of anybody's.
 *
 * @throws ConfigurationError naming each setting and what it should be, never its value
 */
export function validateSettings<T extends object>(Settings: new () => T, input: T | undefined): T {
  const { value, problems } = readInput(Settings, input ?? {}, 'refused');
  if (problems) throw new ConfigurationError(`${Settings.name}: ${problems.join('; ')}.`);
  return value;
}
