import { ConfigurationError } from '../errors';
import { type Login } from './asking-client';
import { type PaymentEventsDataSourceSettings } from './data-source-settings';
import { urlOf } from './database-parts';
import { saysTls, withoutFiles, withSsl, withTlsOf } from './tls';
import { parametersOf, understood, withParameters } from './urls';

/** Where to connect and how to log in, in the form that our clients take. */
export interface ConnectionTarget extends Login {
  readonly url: string;
}

/**
 * What settings say of the connection, and the environment where they leave it open.
 *
 * @param settings that keep their rules
 * @throws ConfigurationError where they contradict themselves
 */
export function connectionTarget(settings: PaymentEventsDataSourceSettings, env: NodeJS.ProcessEnv): ConnectionTarget {
  const { password, ssl } = settings;
  const given = understood(addressOf(settings));
  if (password !== undefined && hasPassword(given)) refuse('password is given, and url has one: leave one of them out');
  if (ssl !== undefined && saysTls(given)) refuse('ssl is given, and url says something of TLS: leave one of them out');
  const url = typeof password === 'string' ? withPassword(given, password) : given;
  const [addressed, certificates] = ssl === undefined ? withoutFiles(withTlsOf(url, env)) : withSsl(url, ssl);
  return {
    url: addressed,
    certificates,
    ...(typeof password === 'function' && { askPassword: password }),
  };
}

/** Of `url`, or of the parts but for the password. */
function addressOf({ url, host, port, database, user }: PaymentEventsDataSourceSettings): string {
  const parts = Object.entries({ host, port, database, user }).flatMap(([name, value]) =>
    value === undefined ? [] : name,
  );
  if (url === undefined) {
    if (parts.length === 0) return refuse('url must be given, or host and database');
    if (host === undefined) return refuse(`host must be given with ${parts.join(', ')}`);
    return database === undefined ? refuse('database must be given with host') : urlOf({ host, port, database, user });
  }
  return parts.length === 0 ? url : refuse(`url and ${parts.join(', ')} are given: say it in one way`);
}

/** Of a URL that is understood. */
export const hasPassword = (url: string): boolean =>
  /^[^/]*\/\/[^/@]*:[^/@]+@/.test(url) || parametersOf(url).has('password');

function withPassword(url: string, password: string): string {
  const parameters = parametersOf(url);
  parameters.set('password', password);
  return withParameters(url, parameters);
}

function refuse(problem: string): never {
  throw new ConfigurationError(`PaymentEventsDataSourceSettings: ${problem}.`);
}
