import { z } from 'zod';
import { ConfigurationError } from '../errors';

/** What a keyring's file says: docs/reference/sealed-secrets.md. Keys are 32 bytes in Base64. */
export interface Keyring {
  /** The id of the key that wraps. The others only unwrap. */
  readonly active: string;
  readonly keys: Readonly<Record<string, string>>;
}

const KEY_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** The last digit has two bits to spare, which are zero. */
const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

const ID_RULE = 'must have 1 to 64 of the characters A-Z a-z 0-9 . _ - and start with a letter or a digit';
const RULES: Readonly<Record<string, string>> = {
  active: 'active must be the id of one of its keys',
  keys: 'keys must be an object that has each key by its id',
};

const shape = z.strictObject({ active: z.string(), keys: z.record(z.string(), z.string()) });

/** @throws ConfigurationError where it is not fit for the id of a key */
export function assertKeyId(keyId: string): void {
  if (typeof (keyId as unknown) !== 'string' || !KEY_ID.test(keyId)) {
    throw new ConfigurationError(`keyId ${ID_RULE}.`);
  }
}

/**
 * Neither an id nor the name of anything else is told: where something was put in the wrong place, that may be a key.
 *
 * @param path for the message
 * @throws ConfigurationError naming what is wrong
 */
export function parseKeyring(path: string, text: string): Keyring {
  const { keyring, problems } = read(text);
  if (problems) throw new ConfigurationError(`The keyring ${path} is malformed: ${problems.join('; ')}.`);
  return keyring;
}

type Read = { keyring: Keyring; problems?: undefined } | { keyring?: undefined; problems: string[] };

function read(text: string): Read {
  const { success, data, error } = shape.safeParse(parseJson(text));
  if (!success) {
    const problems = error.issues.map(
      ({ path: [name] }) => RULES[String(name)] ?? 'it must be a JSON object with active and keys, and nothing else',
    );
    return { problems: [...new Set(problems)] };
  }
  const problems = Object.entries(data.keys).flatMap(([id, key], index) => [
    ...(KEY_ID.test(id) ? [] : [`the id of key ${index + 1} ${ID_RULE}`]),
    ...(KEY.test(key) ? [] : [`key ${index + 1} must be 32 bytes in Base64, with padding`]),
  ]);
  const keys = Object.values(data.keys);
  if (new Set(keys).size < keys.length) problems.push('two of its keys are the same');
  if (!Object.hasOwn(data.keys, data.active)) problems.push(RULES.active!);
  return problems.length > 0 ? { problems } : { keyring: data };
}

/** The error of JSON.parse would quote the text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
