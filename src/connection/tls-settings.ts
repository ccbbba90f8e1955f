import { X509Certificate } from 'node:crypto';
import { IsOptional } from 'class-validator';
import { readInput } from '../validation/read-input';
import { rule } from '../validation/rule';
import { Text } from '../validation/rules';

/**
 * TLS with a certificate of the server that is checked: who has signed it, and that it is for the host that was named.
 * Files are read again for each new connection, so that certificates can be replaced under a process that runs.
 */
export class TlsSettings {
  /** Certificates of the authorities that may have signed the server's, in PEM. Default: those that Node.js knows. */
  @IsOptional()
  @Certificates()
  ca?: string;

  /** The same, by the path of a file. */
  @IsOptional()
  @Text(1, 4_096)
  caFile?: string;

  /** The path of a certificate to log in with, in PEM. Needs `keyFile`. */
  @IsOptional()
  @Text(1, 4_096)
  certFile?: string;

  /** The path of its key. */
  @IsOptional()
  @Text(1, 4_096)
  keyFile?: string;
}

function Certificates(): PropertyDecorator {
  return rule({
    name: 'certificates',
    // Throws where it is none, such as one with \n written out.
    holds: (value) => typeof value === 'string' && Boolean(new X509Certificate(value)),
    message: 'must be certificates in PEM, which begin with -----BEGIN CERTIFICATE----- and have line breaks',
  });
}

export function Ssl(): PropertyDecorator {
  return rule({
    name: 'ssl',
    holds: (value) => value === false || value === 'verify-full' || value === 'no-verify' || isTlsSettings(value),
    message:
      "must be 'verify-full', 'no-verify', false, or an object of ca (certificates in PEM) or caFile, and certFile with keyFile",
  });
}

function isTlsSettings(value: unknown): boolean {
  if (typeof value !== 'object') return false;
  const { value: tls } = readInput(TlsSettings, value, 'refused');
  if (!tls) return false;
  return !(tls.ca && tls.caFile) && Boolean(tls.certFile) === Boolean(tls.keyFile);
}
