import { escapeLiteral } from 'pg';
import { withTlsOf } from '../connection/tls';
import { parametersOf } from '../connection/urls';
import { databaseAddress } from '../database/database-address';

/** From here on libpq can use the authorities that the system trusts. */
const KNOWS_SYSTEM = 160_000;

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
    ...tlsOptions(parametersOf(withTlsOf(url, process.env)), version),
    ...{ async_capable: 'true', fetch_size: '10000', updatable: 'false', truncatable: 'false' },
  };
  return Object.entries(options)
    .map(([name, value]) => `${name} ${escapeLiteral(value)}`)
    .join(', ');
}

/** libpq checks a certificate only where it is told against which authority; `pg` takes those of the system. */
function tlsOptions(said: URLSearchParams, version: number): Record<string, string> {
  const mode = said.get('sslmode') || (['1', 'true'].includes(said.get('ssl') ?? '') ? 'verify-full' : '');
  if (mode === '') return {};
  if (mode === 'no-verify') return { sslmode: 'require' };
  const authority = said.get('sslrootcert') || (version >= KNOWS_SYSTEM && mode === 'verify-full' ? 'system' : '');
  return { sslmode: mode, ...(authority && { sslrootcert: authority }) };
}
