import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** What {@link encrypt} adds to the length of a text: IV and tag. */
export const CIPHER_OVERHEAD_BYTES = IV_BYTES + TAG_BYTES;

/**
 * AES-256-GCM: IV | ciphertext | tag. The IV is random, which is safe for up to 2^32 texts under one key.
 *
 * @param aad what the text is bound to: it opens with the same only
 */
export function encrypt(key: Uint8Array | KeyObject, aad: Buffer, plain: Uint8Array): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES }).setAAD(aad);
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/**
 * @returns a buffer that shares no memory with others; undefined where key, AAD or any byte is not that of
 *   {@link encrypt}
 */
export function decrypt(key: Uint8Array | KeyObject, aad: Buffer, bytes: Buffer): Buffer | undefined {
  if (bytes.length < CIPHER_OVERHEAD_BYTES) return undefined;
  const iv = bytes.subarray(0, IV_BYTES);
  const tag = bytes.subarray(-TAG_BYTES);
  const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES }).setAAD(aad).setAuthTag(tag);
  const plain = decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    plain.fill(0);
    return undefined;
  }
  return plain;
}
