import { escapeLiteral } from 'pg';
import { libpqTls } from '../connection/libpq-tls';
import { withTlsOf } from '../connection/tls';
import { parametersOf } from '../connection/urls';
import { databaseAddress } from '../database/database-address';

/**
 * A URL as options of a foreign server, as SQL: where it leads and how it is encrypted, and nothing of its login.
 *
 * - `async_capable`: several databases are asked at once, and not one after another.
 * - `updatable` and `truncatable`: nobody writes through a foreign table, not even the owner.
 * - `use_remote_estimate` stays off: a plan would ask each database, also those that the query will not touch.
 *
 * @param version of the reporting database, as `server_version_num`
 */
export function serverOptions(url: string, version: number): string {
  const { host, port, database } = databaseAddress(url);
  const options = {
    ...{ host, port: String(port), dbname: database },
    ...libpqTls(parametersOf(withTlsOf(url, process.env)), version),
    ...{ async_capable: 'true', fetch_size: '10000', updatable: 'false', truncatable: 'false' },
  };
  return Object.entries(options)
    .map(([name, value]) => `${name} ${escapeLiteral(value)}`)
    .join(', ');
}
