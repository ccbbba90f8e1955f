import { parametersOf } from '../../connection/urls';
import { databaseAddress } from '../../database/database-address';

/** What `pg` takes for a file of certificates or an option of TLS, and libpq does under the same name. */
const TLS_PARAMETERS = ['sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation'];

/**
 * A database URL as a connection string of libpq, for the server that subscribes.
 *
 * @param password where the URL has none, such as of `PGPASSWORD`
 */
export function libpqConnection(url: string, password?: string): string {
  const parameters = parametersOf(url);
  const { host, port, database, user } = databaseAddress(url);
  const login = /^[^/]*\/\/([^/?#@]*)@/.exec(url)?.[1] ?? '';
  const written = login.includes(':') ? decodeURIComponent(login.slice(login.indexOf(':') + 1)) : undefined;
  const pairs: [string, string | null | undefined][] = [
    ['host', host],
    ['port', String(port)],
    ['dbname', database],
    ['user', user],
    ['password', parameters.get('password') ?? (written || password)],
    ['sslmode', sslModeOf(parameters)],
    ...TLS_PARAMETERS.map((name): [string, string | null] => [name, parameters.get(name)]),
  ];
  return pairs.flatMap(([name, value]) => (value ? `${name}='${value.replaceAll(/[\\']/g, '\\$&')}'` : [])).join(' ');
}

/** `no-verify` is TLS without a look at the certificate, which libpq calls `require`. */
function sslModeOf(parameters: URLSearchParams): string | undefined {
  const mode = parameters.get('sslmode');
  if (mode) return mode === 'no-verify' ? 'require' : mode;
  const ssl = parameters.get('ssl');
  if (!ssl) return undefined;
  return ssl === '0' || ssl === 'false' ? 'disable' : ssl === 'no-verify' ? 'require' : 'verify-full';
}

/** What libpq takes for keywords and values, without spaces around `=`: it would read a value that is missing out of what follows. */
const KEYWORDS = /^\s*(?:[a-z_]+=(?:'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)+)(?:\s+|$))+$/s;

/** With one `@`, before the path: libpq takes the first one for the end of the login, and what follows for a host. */
const URI = /^postgres(?:ql)?:\/\/(?:(?:[^\s%@/]|%[\da-f]{2})*@)?(?:[^\s%@]|%[\da-f]{2})*$/i;

/**
 * Whether a connection string of libpq means what it seems to. A password that is not quoted, or not encoded, as it has to be
 * falls into pieces, and libpq's error quotes one: as a keyword, or as a host that it cannot find.
 */
export const isPlainConnection = (connection: string): boolean => KEYWORDS.test(connection) || URI.test(connection);
