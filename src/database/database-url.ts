import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';

/** What a database URL says, as `pg` has to be told it; or why it cannot be used, without a value of it. */
export type DatabaseUrl = { readonly url: string } | { readonly problem: string };

/** What is said of a text that is no URL of a database at all. */
export const NO_DATABASE_URL =
  'must look like postgresql://user:password@host:5432/database, ' +
  'with special characters of the password percent-encoded (@ as %40, / as %2F, ? as %3F, # as %23, % as %25)';

/** Those that `pg` obeys, or that say how to reach the server and change nothing where it does not know them. */
const PARAMETERS = new Set(
  `host port user password ssl sslmode sslrootcert sslcert sslkey sslnegotiation uselibpqcompat
   application_name fallback_application_name options client_encoding
   statement_timeout lock_timeout idle_in_transaction_session_timeout query_timeout
   connect_timeout keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout
   channel_binding gssencmode sslsni`.split(/\s+/),
);
const FILES = ['sslrootcert', 'sslcert', 'sslkey'];

/**
 * Reads a database URL as PostgreSQL's own programs do where `pg` can be told the same, and refuses the rest: `pg` would
 * misread it, or fail with words that nobody understands.
 *
 * - `ssl=false` is `ssl=0`; `sslrootcert=system` is what `pg` does without it; `prefer`, `require` and `verify-ca` are
 *   `verify-full`, which is how `pg` takes them: never weaker than what was asked for.
 * - The host may be left out where `host=` names one, such as the folder of a Unix socket: `user:password@/database?host=/cloudsql/…`.
 *   A socket has no TLS.
 * - An IPv6 address may have a zone: `[fe80::1%25eth0]`.
 */
export function readDatabaseUrl(text: string): DatabaseUrl {
  const [, scheme, login = '', authority, path, query] =
    /^(postgres(?:ql)?:)\/\/([^/?#\s]*@)?([^@/?#\s]*)\/([^?#\s]*)(?:\?([^#\s]*))?$/i.exec(text) ?? [];
  if (scheme === undefined || !isDecodable(text)) return { problem: NO_DATABASE_URL };
  const parameters = new URLSearchParams(query);
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(authority!) ?? [];
  const host = parameters.get('host') || decodeURIComponent(bracketed ?? plain ?? '');
  // Nothing leaves the machine through a socket: the server offers no TLS there, and PostgreSQL's programs ask for none.
  if (host.startsWith('/')) {
    for (const name of ['ssl', 'sslmode', 'sslnegotiation', ...FILES]) parameters.delete(name);
  }
  const problem =
    problemOfHost(authority!, host, bracketed) ??
    problemOfPort(parameters.get('port') || port || '5432') ??
    problemOfDatabase(path!) ??
    (query?.includes('@') ? NO_DATABASE_URL : problemOfParameters(parameters));
  if (problem !== undefined) return { problem };

  // decodeURI(), which is all that pg does, leaves these as they are: they have to be written plainly.
  const database = path!.replace(/%(?:3B|3A|40|26|3D|2B|24|2C)/gi, decodeURIComponent);
  if (bracketed?.includes('%')) parameters.set('host', host);
  replaceTlsWords(parameters);
  // Where a parameter names the host, this one is for URL() alone, which neither takes a zone nor a login without a host.
  const isReplaced = bracketed?.includes('%') || (plain === '' && authority + login !== '');
  const address = isReplaced ? `localhost${port ? `:${port}` : ''}` : authority!;
  const said = isChanged(parameters, query) ? parameters.toString() : query;
  return { url: `${scheme}//${login}${address}/${database}${said ? `?${said}` : ''}` };
}

function isDecodable(text: string): boolean {
  try {
    return !decodeURIComponent(text).includes('\0');
  } catch {
    return false;
  }
}

function problemOfHost(authority: string, host: string, bracketed: string | undefined): string | undefined {
  if (`${authority}${host}`.includes(',')) {
    return 'names several hosts, and pg connects to one only: name the primary, or a name that always leads to it';
  }
  if (/[\s\p{Cc}]/u.test(host)) return NO_DATABASE_URL;
  if (bracketed !== undefined && !isIPv6(decodeURIComponent(bracketed))) return NO_DATABASE_URL;
  return host === '' || !/^(?:\[[^\]]*\]|[^:[\]]*)(?::\d*)?$/.test(authority) ? NO_DATABASE_URL : undefined;
}

function problemOfPort(port: string): string | undefined {
  return /^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535
    ? undefined
    : 'has a port that is no number from 1 to 65535';
}

function problemOfDatabase(path: string): string | undefined {
  // URL() takes dots for a way through folders.
  if (path === '' || path.includes('/') || /^(?:\.|%2e){1,2}$/i.test(path)) return NO_DATABASE_URL;
  return /%(?:2F|3F|23)/i.test(path)
    ? 'names a database whose name has / ? or # in it, to which pg cannot connect: rename it (ALTER DATABASE … RENAME TO …)'
    : undefined;
}

function problemOfParameters(parameters: URLSearchParams): string | undefined {
  const [ssl, mode, negotiation] = ['ssl', 'sslmode', 'sslnegotiation'].map((name) => parameters.get(name) ?? '');
  const target = parameters.get('target_session_attrs') ?? 'any';
  if (target !== 'any')
    return 'has target_session_attrs, which pg does not know: name a host that is always the primary';
  const unknown = [...parameters.keys()].find((name) => !PARAMETERS.has(name) && name !== 'target_session_attrs');
  if (unknown !== undefined) {
    return (
      `has ${/^[a-z_]{1,40}$/i.test(unknown) ? `the parameter ${unknown}` : 'a parameter'} that pg does not know: ` +
      'leave it out, and percent-encode a ? that begins no parameters (%3F)'
    );
  }
  if (!['', 'true', '1', 'false', '0', 'no-verify'].includes(ssl!)) {
    return 'has another ssl than true, false and no-verify: say sslmode=verify-full for TLS, sslmode=disable for none';
  }
  if (!['', 'disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'].includes(mode!)) {
    return (
      'has an sslmode that pg does not know: say verify-full for TLS and a certificate that is checked, no-verify for ' +
      'TLS alone, disable for none'
    );
  }
  if (!/^(utf-?8)?$/i.test(parameters.get('client_encoding') ?? '')) {
    return 'has a client_encoding, and pg understands UTF-8 alone: leave it out';
  }
  if (!['', 'postgres', 'direct'].includes(negotiation!)) return 'has another sslnegotiation than postgres and direct';
  if (negotiation === 'direct' && (mode === 'disable' || (mode === '' && ['0', 'false'].includes(ssl!)))) {
    return 'has sslnegotiation=direct and no TLS: say sslmode=verify-full';
  }
  if (parameters.get('uselibpqcompat') === 'true' && mode === 'verify-ca' && !parameters.get('sslrootcert')) {
    return 'has sslmode=verify-ca without sslrootcert: name the file of the authority, or say sslmode=verify-full';
  }
  return FILES.map((name) => problemOfFile(name, parameters.get(name))).find(Boolean);
}

function problemOfFile(name: string, path: string | null): string | undefined {
  if (!path || (name === 'sslrootcert' && path === 'system')) return undefined;
  const problem = problemOfPemFile(path);
  return problem && `has an ${name} that ${problem}`;
}

/** Why a file cannot be one of certificates or keys, to stand after what names it; undefined where it can. */
export function problemOfPemFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').includes('-----BEGIN ')
      ? undefined
      : 'is no PEM file: it begins with -----BEGIN';
  } catch (error) {
    return `names a file which cannot be read (${(error as NodeJS.ErrnoException).code})`;
  }
}

function replaceTlsWords(parameters: URLSearchParams): void {
  if (parameters.get('ssl') === 'false') parameters.set('ssl', '0');
  if (parameters.get('sslrootcert') === 'system') {
    parameters.delete('sslrootcert');
    if (!parameters.get('sslmode')) parameters.set('sslmode', 'verify-full');
  }
  const isSynonym = ['prefer', 'require', 'verify-ca'].includes(parameters.get('sslmode') ?? '');
  if (isSynonym && parameters.get('uselibpqcompat') !== 'true') parameters.set('sslmode', 'verify-full');
}

const isChanged = (parameters: URLSearchParams, query = '') =>
  parameters.toString() !== new URLSearchParams(query).toString();

/** The same server and login, another database. Of a URL that {@link readDatabaseUrl} has read. */
export const withDatabase = (url: string, database: string): string =>
  url.replace(/^([^/]*\/\/[^/]*\/)[^?]*/, `$1${encodeURI(database)}`);
