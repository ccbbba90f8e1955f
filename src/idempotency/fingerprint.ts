import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';

/**
 * SHA-256 of what makes a request the same request, in canonical JSON (RFC 8785): the order of object keys does not
 * matter, that of `parts` does. Ids go in lower case.
 */
export function fingerprint(...parts: unknown[]): Buffer {
  return Buffer.from(hash('sha256', canonicalize(parts) ?? ''), 'hex');
}
