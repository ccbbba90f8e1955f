import { InvalidArgumentError } from 'commander';
import { isUuid } from '../validation/rules';

/**
 * Reads an argument that must be a UUID, in lower case.
 *
 * @param what what it names, such as `A request`
 */
export const uuidArgument =
  (what: string) =>
  (text: string): string => {
    if (isUuid(text)) return text.toLowerCase();
    throw new InvalidArgumentError(`${what} is a UUID.`);
  };
