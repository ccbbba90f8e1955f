import { readDatabaseUrl } from '../database/database-url';
import { ConfigurationError } from '../errors';

/**
 * A URL as `pg` is to be told it.
 *
 * @throws ConfigurationError saying what is wrong with the setting `url`, and nothing of its value
 */
export function understood(text: string): string {
  const read = readDatabaseUrl(text);
  if ('problem' in read) throw new ConfigurationError(`PaymentEventsDataSourceSettings: url ${read.problem}.`);
  return read.url;
}

/** What stands behind the `?` of a URL that is understood. */
export function parametersOf(url: string): URLSearchParams {
  const [, query] = /\?(.*)$/s.exec(url) ?? [];
  return new URLSearchParams(query);
}

/** The same address with other parameters, understood: words of TLS that mean the same become one. */
export function withParameters(url: string, parameters: URLSearchParams): string {
  const address = url.replace(/\?.*$/s, '');
  return understood(parameters.size > 0 ? `${address}?${parameters.toString()}` : address);
}
