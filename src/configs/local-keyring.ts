import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import canonicalize from 'canonicalize';
import { CIPHER_OVERHEAD_BYTES, decrypt, encrypt } from './authenticated-cipher';
import { KeyMissingError, KeyRefusedError } from './errors';
import { KEY_BYTES, type KeyProvider, type WrappedKey, wrappingContext } from './key-provider';
import { type Keyring } from './keyring';
import { readKeyringFile } from './keyring-file';

/** The first byte of what this version wraps. */
const FORMAT = 1;
const WRAPPED_BYTES = 1 + KEY_BYTES + CIPHER_OVERHEAD_BYTES;

/**
 * Reads key-encryption keys from a file, once: a process that is to know a new key starts again. `newKeyring`, `addKey` and
 * `activateKey` write such a file; docs/reference/sealed-secrets.md has its form. It belongs into no repository, no image
 * and no backup of the database.
 *
 * Who reads the file and the database opens every secret. Where that is not good enough, keep the keys in a KMS:
 * `payment-events-db/aws-kms`.
 *
 * ```ts
 * const keys = await readKeyring('/run/secrets/payment-events-db-keyring.json');
 * ```
 *
 * @throws ConfigurationError where it is missing or malformed, others can read or write it, or it belongs to another user
 *   than this one or root. Nothing of a key is in the message.
 */
export async function readKeyring(path: string): Promise<KeyProvider> {
  return new LocalKeyring((await readKeyringFile(path)).keyring);
}

class LocalKeyring implements KeyProvider {
  readonly #active: string;
  readonly #keys: ReadonlyMap<string, KeyObject>;

  constructor({ active, keys }: Keyring) {
    this.#active = active;
    this.#keys = new Map(Object.entries(keys).map(([id, key]) => [id, createSecretKey(key, 'base64')]));
  }

  generateDataKey(dataKeyId: string): Promise<WrappedKey & { readonly plain: Buffer }> {
    const plain = randomBytes(KEY_BYTES);
    return Promise.resolve({ ...this.#wrap(dataKeyId, plain), plain });
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- What it throws is a rejection, as of any KeyProvider.
  async unwrap(dataKeyId: string, { keyId, wrapped }: WrappedKey): Promise<Buffer> {
    const key = this.#keys.get(keyId);
    if (!key) throw new KeyMissingError(keyId);
    const isKnown = wrapped.length === WRAPPED_BYTES && wrapped[0] === FORMAT;
    const plain = isKnown ? decrypt(key, aadOf(dataKeyId, keyId), wrapped.subarray(1)) : undefined;
    if (!plain) throw new KeyRefusedError(keyId, 'mismatch');
    return plain;
  }

  async rewrap(dataKeyId: string, key: WrappedKey): Promise<WrappedKey> {
    if (key.keyId === this.#active) return key;
    const plain = await this.unwrap(dataKeyId, key);
    try {
      return this.#wrap(dataKeyId, plain);
    } finally {
      plain.fill(0);
    }
  }

  #wrap(dataKeyId: string, plain: Buffer): WrappedKey {
    const keyId = this.#active;
    const bytes = encrypt(this.#keys.get(keyId)!, aadOf(dataKeyId, keyId), plain);
    return { keyId, wrapped: Buffer.concat([Buffer.of(FORMAT), bytes]) };
  }
}

const aadOf = (dataKeyId: string, keyId: string): Buffer =>
  Buffer.from(canonicalize({ ...wrappingContext(dataKeyId), key_id: keyId })!);
