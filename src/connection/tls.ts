import { databaseAddress } from '../database/database-address';
import { problemOfPemFile } from '../database/database-url';
import { ConfigurationError } from '../errors';
import { validateSettings } from '../validation/validate-options';
import { type PaymentEventsDataSourceSettings } from './data-source-settings';
import { TlsSettings } from './tls-settings';
import { parametersOf, withParameters } from './urls';

/** What `PGSSLMODE` may be. `allow` of PostgreSQL's own programs would go unencrypted first, which `pg` cannot. */
export const TLS_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'] as const;

/** The variables that name files, and the parameters of a URL that do. */
const FILES = { PGSSLROOTCERT: 'sslrootcert', PGSSLCERT: 'sslcert', PGSSLKEY: 'sslkey' } as const;
export const FILE_VARIABLES = Object.keys(FILES) as readonly (keyof typeof FILES)[];

/** What says of a connection whether it is to be encrypted. */
const WORDS = ['ssl', 'sslmode', ...Object.values(FILES)];

const NOTHING: Certificates = {};

/** Whether a URL says anything of TLS. */
export const saysTls = (url: string): boolean => {
  const said = parametersOf(url);
  return WORDS.some((word) => said.get(word)) || said.get('sslnegotiation') === 'direct';
};

/** Certificates that a connection reads before it begins: see `TlsSettings`. */
export interface Certificates {
  readonly ca?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** A URL that says what the setting `ssl` does, and the certificates that go with it. */
export function withSsl(url: string, ssl: NonNullable<PaymentEventsDataSourceSettings['ssl']>): [string, Certificates] {
  const certificates: Certificates = typeof ssl === 'object' ? validateSettings({ TlsSettings }, ssl) : NOTHING;
  for (const name of ['caFile', 'certFile', 'keyFile'] as const) {
    const problem = certificates[name] && problemOfPemFile(certificates[name]);
    if (problem) throw new ConfigurationError(`PaymentEventsDataSourceSettings: ssl has a ${name} that ${problem}.`);
  }
  const parameters = parametersOf(url);
  parameters.set('sslmode', ssl === false ? 'disable' : ssl === 'no-verify' ? ssl : 'verify-full');
  return [withParameters(url, parameters), { ...certificates }];
}

/**
 * A URL with what it leaves out of TLS: what the variables of PostgreSQL's own programs say, else `verify-full` where the
 * server is on another machine and NODE_ENV is `production`. `pg` would read PGSSLMODE alone, and take a word that it does
 * not know for no TLS. A URL that says something keeps it; nothing leaves the machine through a Unix socket.
 *
 * @throws ConfigurationError naming the variable
 */
export function withTlsOf(url: string, env: NodeJS.ProcessEnv): string {
  const { host, isLocal } = databaseAddress(url);
  if (host.startsWith('/')) return url;
  const said = parametersOf(url);
  if (!saysTls(url)) {
    const mode = modeIn(env) ?? (env.NODE_ENV === 'production' && !isLocal ? 'verify-full' : undefined);
    if (mode === undefined) return url;
    said.set('sslmode', mode);
  }
  const isOff =
    said.get('sslmode') === 'disable' || (!said.get('sslmode') && ['0', 'false'].includes(said.get('ssl')!));
  const namesFile = Object.values(FILES).some((name) => said.get(name));
  if (!isOff && !namesFile) {
    for (const variable of FILE_VARIABLES) {
      const path = env[variable];
      if (!path) continue;
      const problem = problemOfFile(variable, path);
      if (problem) throw new ConfigurationError(`${variable} ${problem}.`);
      said.set(FILES[variable], path);
    }
  }
  return withParameters(url, said);
}

/** `system` stands for the authorities that are known anyway. */
export const problemOfFile = (variable: string, path: string): string | undefined =>
  variable === 'PGSSLROOTCERT' && path === 'system' ? undefined : problemOfPemFile(path);

function modeIn({ PGSSLMODE: mode }: NodeJS.ProcessEnv): string | undefined {
  if (!mode || (TLS_MODES as readonly string[]).includes(mode)) return mode || undefined;
  throw new ConfigurationError(`PGSSLMODE must be one of ${TLS_MODES.join(', ')}.`);
}

/**
 * A URL without its files, for connections that read them before they begin. `pg` reads them where a client is made: a pool would
 * throw that out of a timer, and end the process, where a file is not there for a moment.
 */
export function withoutFiles(url: string): [string, Certificates] {
  const said = parametersOf(url);
  const file = (name: string) => said.get(name) || undefined;
  const certificates = { caFile: file('sslrootcert'), certFile: file('sslcert'), keyFile: file('sslkey') };
  // That mode gives the files another meaning.
  if (!Object.values(certificates).some(Boolean) || said.get('uselibpqcompat') === 'true') return [url, NOTHING];
  for (const name of Object.values(FILES)) said.delete(name);
  if (!said.get('sslmode')) said.set('sslmode', 'verify-full');
  return [withParameters(url, said), certificates];
}
