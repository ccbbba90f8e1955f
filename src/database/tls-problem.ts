/** What Node says of a certificate that it does not trust. */
const OF_A_CERTIFICATE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|INVALID_CA|HOSTNAME_MISMATCH)/;

/**
 * Why a connection cannot be encrypted as it was asked for, and what helps: two sentences; undefined where that is not what an
 * error says.
 *
 * @param server such as `the server at db.internal:5432`
 */
export function tlsProblem(error: unknown, server = 'the server'): readonly [string, string] | undefined {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof message !== 'string') return undefined;
  if (typeof code === 'string' && OF_A_CERTIFICATE.test(code)) {
    return [`The certificate of ${server} is not trusted (${code}).`, remedyOf(code)];
  }
  if (code === undefined && message === 'The server does not support SSL connections') {
    return [
      `${server.replace(/^t/, 'T')} offers no TLS.`,
      'Switch it on there, or say that there is to be none, if the network may read the traffic: sslmode=disable in ' +
        'DATABASE_URL, PGSSLMODE=disable, or ssl: false in code.',
    ];
  }
  const isOther =
    code === undefined
      ? /SSL connection/.test(message)
      : typeof code === 'string' && /^(ERR_(TLS|SSL|OSSL)|EPROTO)/.test(code);
  if (!isOther) return undefined;
  return [
    `TLS with ${server} fails (${(code as string | undefined) ?? 'no TLS is spoken there'}).`,
    'Check the port, the certificate and key that are given to log in with, and the versions of TLS that the server accepts.',
  ];
}

function remedyOf(code: string): string {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return 'It has expired: the server needs a new one.';
    case 'CERT_NOT_YET_VALID':
      return 'It is not valid yet: compare the clocks of this machine and of who has made it.';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return 'It is for another name: connect by a name that is in it.';
    default:
      return (
        'Name the file of the certificate authority that signed it: sslrootcert=<file> in DATABASE_URL, PGSSLROOTCERT, or ' +
        'ssl: { caFile } in code. sslmode=no-verify encrypts without checking the certificate.'
      );
  }
}
