import { type DataSource } from 'typeorm';
import { type Login } from '../../connection/asking-client';
import { libpqTls } from '../../connection/libpq-tls';
import { type Certificates } from '../../connection/tls';
import { parametersOf } from '../../connection/urls';
import { databaseAddress } from '../../database/database-address';

/** What else `pg` takes for a file of certificates or an option of TLS, and libpq does under the same name. */
const TLS_PARAMETERS = ['sslcert', 'sslkey', 'sslnegotiation'];

/** How the server of the target reaches the source, by what the options of both say. The target is open. */
export function connectionFrom(target: DataSource, source: DataSource): string {
  const { url, extra } = source.options as { url: string; extra?: Login };
  return libpqConnection(url, {
    version: Number.parseInt(target.driver.version!) * 10_000,
    password: process.env.PGPASSWORD,
    certificates: extra?.certificates,
  });
}

interface Libpq {
  /** Of the server that connects, as `server_version_num`. */
  readonly version: number;
  /** Where the URL has none, such as of `PGPASSWORD`. */
  readonly password?: string;
  /** Where the URL names no files, and they are known all the same. That server needs them at the same paths. */
  readonly certificates?: Certificates;
}

/** A database URL as a connection string of libpq, for the server that subscribes. */
export function libpqConnection(url: string, { version, password, certificates = {} }: Libpq): string {
  const parameters = parametersOf(url);
  const { caFile, certFile, keyFile } = certificates;
  for (const [name, file] of Object.entries({ sslrootcert: caFile, sslcert: certFile, sslkey: keyFile })) {
    if (file && !parameters.get(name)) parameters.set(name, file);
  }
  const { host, port, database, user } = databaseAddress(url);
  const login = /^[^/]*\/\/([^/?#@]*)@/.exec(url)?.[1] ?? '';
  const written = login.includes(':') ? decodeURIComponent(login.slice(login.indexOf(':') + 1)) : undefined;
  const pairs: [string, string | null | undefined][] = [
    ['host', host],
    ['port', String(port)],
    ['dbname', database],
    ['user', user],
    ['password', parameters.get('password') ?? (written || password)],
    ...Object.entries(libpqTls(parameters, version)),
    ...TLS_PARAMETERS.map((name): [string, string | null] => [name, parameters.get(name)]),
  ];
  return pairs.flatMap(([name, value]) => (value ? `${name}='${value.replaceAll(/[\\']/g, '\\$&')}'` : [])).join(' ');
}

/** The login of a connection string of libpq; undefined where it cannot be read, or leaves that to the server which connects. */
export function loginOf(connection: string): string | undefined {
  if (!isPlainConnection(connection)) return undefined;
  const uri = /^postgres(?:ql)?:\/\/([^:@/?]*)(?=[:@])[^/]*@/.exec(connection)?.[1];
  if (uri) return decodeURIComponent(uri);
  const [, quoted, plain] = /(?:^|\s)user=(?:'((?:[^'\\]|\\.)*)'|(\S+))/.exec(connection) ?? [];
  return (quoted ?? plain)?.replaceAll(/\\(.)/g, (_, one: string) => one);
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
