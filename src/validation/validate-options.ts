import { ConfigurationError, InvalidCommandError } from '../errors';
import { classIn, type Named } from './named';
import { readInput } from './read-input';

/**
 * Checks the options of one call, by the same rules as a command. An option that there is not is refused, since a slip
 * of the pen would silently mean a default.
 *
 * @param named such as `{ WaitOptions }`
 * @throws InvalidCommandError naming each option and what it should be, never its value
 */
export function validateOptions<T extends object>(named: Named<T>, input: T | undefined): T {
  const [name, Options] = classIn(named);
  const { value, problems } = readInput(Options, input ?? {}, 'refused');
  if (problems) throw new InvalidCommandError(name, problems);
  return value;
}

/**
 * The same for what is set once, at a start: then it is a setting that is wrong, as it would be in the environment, and
 * no request of anybody's.
 *
 * @param named such as `{ RelayOptions }`
 * @throws ConfigurationError naming each setting and what it should be, never its value
 */
export function validateSettings<T extends object>(named: Named<T>, input: T | undefined): T {
  const [name, Settings] = classIn(named);
  const { value, problems } = readInput(Settings, input ?? {}, 'refused');
  if (problems) throw new ConfigurationError(`${name}: ${problems.join('; ')}.`);
  return value;
}
