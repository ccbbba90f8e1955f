import { DecryptCommand, GenerateDataKeyCommand, type KMSClient, ReEncryptCommand } from '@aws-sdk/client-kms';
import { IsOptional } from 'class-validator';
import { HasMethods } from '../validation/option-rules';
import { LONGEST_TIMER_MS, Text, WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { KeyRefusedError } from './errors';
import { KEY_BYTES, type KeyProvider, type WrappedKey, wrappingContext } from './key-provider';
import { meaningOf, toKeyError } from './kms-errors';

/** How an {@link AwsKmsKeyProvider} reaches AWS KMS, and which key wraps. */
export class AwsKmsKeyProviderOptions {
  /** Yours: its region, credentials, endpoint and retries. The provider does not destroy it. */
  @HasMethods('a KMSClient', 'send')
  client: KMSClient;

  /**
   * The key that wraps new data keys: its ARN, its id, or an alias such as `alias/payments`. A symmetric key for
   * encryption. What other keys have wrapped is unwrapped by those, as long as they are enabled.
   */
  @Text(1, 2048)
  keyId: string;

  /** The longest that one answer may take, with the retries of the client: 1 to 2,147,483,647 ms. Default 10,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  timeoutMs?: number;
}

/**
 * Data keys under keys that never leave AWS KMS. It is asked once for each data key that a process makes or opens, which is
 * about once a day and process, and for no secret.
 *
 * The role of a process that seals needs `kms:GenerateDataKey`, of one that opens `kms:Decrypt`, of the one that rotates
 * `kms:ReEncryptFrom` and `kms:ReEncryptTo`. The encryption context has `purpose` and `data_key_id`, so that a key policy
 * can ask for `kms:EncryptionContext:purpose` to be `payment-events-db/data-key`.
 *
 * Its methods throw {@link KeyUnavailableError} where KMS cannot be reached, is busy or has a fault of its own,
 * {@link KeyMissingError} where it has no such key, and {@link KeyRefusedError} for all that stays as it is until
 * somebody sees to it.
 *
 * @example
 * const keys = new AwsKmsKeyProvider({ client: new KMSClient({}), keyId: 'alias/payments' });
 */
export class AwsKmsKeyProvider implements KeyProvider {
  readonly #client: KMSClient;
  readonly #keyId: string;
  readonly #timeoutMs: number;

  /** @throws ConfigurationError naming each option that is wrong */
  constructor(options: AwsKmsKeyProviderOptions) {
    const { client, keyId, timeoutMs = 10_000 } = validateSettings({ AwsKmsKeyProviderOptions }, options);
    this.#client = client;
    this.#keyId = keyId;
    this.#timeoutMs = timeoutMs;
  }

  async generateDataKey(dataKeyId: string): Promise<WrappedKey & { readonly plain: Buffer }> {
    const command = new GenerateDataKeyCommand({
      KeyId: this.#keyId,
      KeySpec: 'AES_256',
      EncryptionContext: wrappingContext(dataKeyId),
    });
    const { KeyId, CiphertextBlob, Plaintext } = await this.#ask(() => this.#client.send(command, this.#within()));
    const plain = plainOf(Plaintext, this.#keyId);
    return { ...wrappedKeyOf(KeyId, CiphertextBlob, this.#keyId), plain };
  }

  async unwrap(dataKeyId: string, { keyId, wrapped }: WrappedKey): Promise<Buffer> {
    const command = new DecryptCommand({
      KeyId: keyId,
      CiphertextBlob: wrapped,
      EncryptionContext: wrappingContext(dataKeyId),
    });
    const { Plaintext } = await this.#ask(() => this.#client.send(command, this.#within()), keyId);
    return plainOf(Plaintext, keyId);
  }

  /** Where the provider has an alias, only KMS knows which key it means, and is asked. */
  async rewrap(dataKeyId: string, key: WrappedKey): Promise<WrappedKey> {
    if (key.keyId === this.#keyId || key.keyId.endsWith(`:key/${this.#keyId}`)) return key;
    const context = wrappingContext(dataKeyId);
    const command = new ReEncryptCommand({
      SourceKeyId: key.keyId,
      CiphertextBlob: key.wrapped,
      SourceEncryptionContext: context,
      DestinationKeyId: this.#keyId,
      DestinationEncryptionContext: context,
    });
    const answer = await this.#ask(() => this.#client.send(command, this.#within()), this.#keyId, key.keyId);
    return answer.KeyId === key.keyId ? key : wrappedKeyOf(answer.KeyId, answer.CiphertextBlob, this.#keyId);
  }

  #within() {
    return { abortSignal: AbortSignal.timeout(this.#timeoutMs) };
  }

  /**
   * @param keyId the key that an error is about
   * @param source another one that it may be about: KMS says which by quoting its ARN
   */
  async #ask<T>(send: () => Promise<T>, keyId = this.#keyId, source?: string): Promise<T> {
    try {
      return await send();
    } catch (error) {
      const isOfSource =
        source !== undefined && (meaningOf(error) === 'mismatch' || String((error as Error).message).includes(source));
      throw toKeyError(error, isOfSource ? source : keyId);
    }
  }
}

/** In memory that is shared with nothing, and can be filled with zeros. */
function plainOf(bytes: Uint8Array | undefined, keyId: string): Buffer {
  if (bytes?.length !== KEY_BYTES) throw new KeyRefusedError(keyId, 'answer');
  const plain = Buffer.alloc(KEY_BYTES);
  plain.set(bytes);
  bytes.fill(0);
  return plain;
}

function wrappedKeyOf(keyId: string | undefined, wrapped: Uint8Array | undefined, asked: string): WrappedKey {
  if (!keyId || !wrapped?.length) throw new KeyRefusedError(asked, 'answer');
  return { keyId, wrapped: Buffer.from(wrapped) };
}
