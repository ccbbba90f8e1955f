/** A data key under a key-encryption key: what may lie in the database. */
export interface WrappedKey {
  /** Of the key-encryption key: a name in a keyring, the ARN of a key in AWS KMS. At most 2,048 characters. */
  readonly keyId: string;
  /** At most 10,000 bytes. */
  readonly wrapped: Buffer;
}

/**
 * Holds the key-encryption keys, which never leave it, and wraps data keys with them. `readKeyring` gives one for a file,
 * `payment-events-db/aws-kms` one for AWS KMS.
 *
 * A data key's id is bound into its wrapping, so that two rows of `data_keys` cannot be exchanged. An implementation of
 * your own has to do so, too. What it throws may be a {@link KeyMissingError}, {@link KeyUnavailableError} or
 * {@link KeyRefusedError}; anything else is passed on as it is.
 */
export interface KeyProvider {
  /**
   * A new data key of 32 random bytes, wrapped under the key that is active now. `plain` must be a buffer of its own: who
   * asked fills it with zeros afterwards.
   */
  generateDataKey(dataKeyId: string): Promise<WrappedKey & { readonly plain: Buffer }>;

  /** The 32 bytes of a data key, in a buffer of its own. */
  unwrap(dataKeyId: string, key: WrappedKey): Promise<Buffer>;

  /** The data key under the key that is active now; the same `key` where it is already. */
  rewrap(dataKeyId: string, key: WrappedKey): Promise<WrappedKey>;
}

/** Bytes of a data key, and of a key of a keyring: AES-256. */
export const KEY_BYTES = 32;

/** What every wrapping of a data key is bound to. */
export const wrappingContext = (dataKeyId: string) => ({
  purpose: 'payment-events-db/data-key',
  data_key_id: dataKeyId.toLowerCase(),
});
