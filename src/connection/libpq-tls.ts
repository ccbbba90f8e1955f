/** From here on libpq can use the authorities that the system trusts. */
const KNOWS_SYSTEM = 160_000;

/**
 * What a server is told of TLS where it connects by libpq, so that it is never weaker than what the same URL means to `pg`:
 * `prefer`, `require` and `verify-ca` are `verify-full`. To libpq the first two would check no certificate, and `prefer` would
 * go unencrypted where the other side wants that. With `uselibpqcompat=true` they are libpq's own, but for that.
 *
 * @param said the parameters of the URL
 * @param version of the server that connects, as `server_version_num`
 */
export function libpqTls(said: URLSearchParams, version: number): Record<string, string> {
  const mode = modeOf(said);
  if (mode === undefined) return {};
  // By a file of authorities libpq would check after all.
  if (mode === 'no-verify') return { sslmode: 'require' };
  // libpq checks a certificate only where it is told against which authority; `pg` takes those of the system.
  const authority = said.get('sslrootcert') || (version >= KNOWS_SYSTEM && mode === 'verify-full' ? 'system' : '');
  return { sslmode: mode, ...(authority && mode !== 'disable' && { sslrootcert: authority }) };
}

function modeOf(said: URLSearchParams): string | undefined {
  const mode = said.get('sslmode');
  if (mode) return said.get('uselibpqcompat') === 'true' ? compatible(mode) : strict(mode);
  if (['sslrootcert', 'sslcert', 'sslkey'].some((name) => said.get(name))) return 'verify-full';
  const ssl = said.get('ssl');
  if (!ssl) return said.get('sslnegotiation') === 'direct' ? 'verify-full' : undefined;
  return ssl === '0' || ssl === 'false' ? 'disable' : ssl === 'no-verify' ? ssl : 'verify-full';
}

const compatible = (mode: string) => (mode === 'prefer' ? 'require' : mode);
const strict = (mode: string) => (mode === 'disable' || mode === 'no-verify' ? mode : 'verify-full');
