import { isIPv6 } from 'node:net';
import { type PaymentEventsDataSourceSettings } from './data-source-settings';
import { understood } from './urls';

/** A database by its parts, as the rules of the settings have checked them. */
export interface DatabaseParts extends Pick<PaymentEventsDataSourceSettings, 'port' | 'user'> {
  readonly host: string;
  readonly database: string;
  readonly password?: string;
}

const DEFAULT_PORT = 5_432;

/** The URL of the same database: what is done with one by its URL goes for one by its parts. */
export function urlOf({ host, port = DEFAULT_PORT, database, user, password }: DatabaseParts): string {
  const [name, secret] = [user, password].map((text) => text && encodeURIComponent(text));
  const login = name || secret ? `${name ?? ''}${secret ? `:${secret}` : ''}@` : '';
  const address = isIPv6(host) ? `[${host.replace('%', '%25')}]` : host;
  const at = host.startsWith('/') ? `:${port}` : `${address}:${port}`;
  const socket = host.startsWith('/') ? `?host=${encodeURIComponent(host)}` : '';
  return understood(`postgresql://${login}${at}/${encodeURIComponent(database)}${socket}`);
}
