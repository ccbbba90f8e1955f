import { isPlainObject } from '../validation/json-rules';
import { rule } from '../validation/rule';
import { isText } from '../validation/rules';
import { Secret } from './secret';

const LONGEST = 10_000;
const MOST = 100;

/** An object whose values are secrets, or texts that are to be. */
export const SecretMap = (): PropertyDecorator =>
  rule({
    name: 'secretMap',
    holds: (value) =>
      isPlainObject(value) && Reflect.ownKeys(value).length <= MOST && Object.entries(value).every(isSecret),
    message:
      `must be a plain object of at most ${MOST} texts or Secrets, each of 1 to ${LONGEST} characters, well-formed and without NUL, ` +
      'under names of 1 to 100 characters',
  });

function isSecret([name, value]: [string, unknown]): boolean {
  const text = value instanceof Secret ? value.reveal() : value;
  return (
    isText(name) &&
    name.length >= 1 &&
    name.length <= 100 &&
    name !== '__proto__' &&
    isText(text) &&
    text.length >= 1 &&
    text.length <= LONGEST
  );
}
