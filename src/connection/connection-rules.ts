import { isIPv6 } from 'node:net';
import { NO_DATABASE_URL, readDatabaseUrl } from '../database/database-url';
import { rule } from '../validation/rule';
import { isText } from '../validation/rules';

/** What a part of an address must be, for the message that refuses it. */
export const HOST = 'must be one host: a name, an IP address, or the folder of a Unix socket, which begins with /';
export const DATABASE_NAME = 'must be the name of a database: 1 to 63 bytes, without / ? #, and not . or ..';
export const ROLE_NAME = 'must be the name of a user: 1 to 63 bytes';

/** The longest name that PostgreSQL keeps whole. */
const NAME_BYTES = 63;
const isName = (value: unknown): value is string =>
  isText(value) && value !== '' && Buffer.byteLength(value) <= NAME_BYTES;

/** A URL that can be read; what else may be wrong with it is said in words of its own. */
export function DatabaseUrl(): PropertyDecorator {
  const isUrl = (text: string) => {
    const read = readDatabaseUrl(text);
    return !('problem' in read) || read.problem !== NO_DATABASE_URL;
  };
  return rule({
    name: 'databaseUrl',
    holds: (value) => typeof value === 'string' && isUrl(value),
    message: NO_DATABASE_URL,
  });
}

/** Not a list of hosts: `pg` connects to one. */
export const isHost = (value: unknown): value is string =>
  isText(value) &&
  !/\p{Cc}/u.test(value) &&
  (value.startsWith('/') || isIPv6(value) || /^[^\s,@/?#%:[\]]+$/.test(value));

/** `pg` cannot be told of other names, and `URL` takes dots for a way through folders. */
export const isDatabaseName = (value: unknown): value is string =>
  isName(value) && !/[/?#]/.test(value) && !/^\.{1,2}$/.test(value);

export const isRoleName = isName;

export const Host = (): PropertyDecorator => rule({ name: 'host', holds: isHost, message: HOST });
export const DatabaseName = (): PropertyDecorator =>
  rule({ name: 'databaseName', holds: isDatabaseName, message: DATABASE_NAME });
export const RoleName = (): PropertyDecorator => rule({ name: 'roleName', holds: isRoleName, message: ROLE_NAME });

export const Password = (): PropertyDecorator =>
  rule({
    name: 'password',
    holds: (value) => typeof value === 'function' || (isText(value) && value !== ''),
    message: 'must be text that is not empty, or a function that gives it',
  });
