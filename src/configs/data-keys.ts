import { newId } from '../database/new-id';
import { KeyMissingError, KeyRefusedError } from './errors';
import { KEY_BYTES, type KeyProvider, type WrappedKey } from './key-provider';
import { type PlainDataKey } from './sealed-secrets';

const KEY_LIFE_MS = 86_400_000;
/** A random IV is safe for 2^32 texts: far from it, and a KMS is still asked rarely. */
const SEALS_PER_KEY = 2 ** 20;
const MOST_UNWRAPPED = 1_000;

/** Where wrapped data keys lie: the table `data_keys`. */
export interface DataKeyStore {
  insert(id: string, key: WrappedKey): Promise<void>;
  /** @returns undefined where there is no such data key */
  read(id: string): Promise<WrappedKey | undefined>;
}

interface SealingKey {
  readonly madeAt: number;
  readonly key: Promise<PlainDataKey>;
  seals: number;
}

/**
 * The data keys of one process, unwrapped. It seals by a key of its own, and by another one after a day or 2^20 seals. Of
 * those that it opens it keeps the 1,000 that were asked for last, for as long as it runs; who asks at once for the same
 * one shares a call. A failure is not kept.
 *
 * What it hands out is a copy. Its own is filled with zeros when it is not kept any more.
 */
export class DataKeys {
  readonly #provider: KeyProvider;
  readonly #store: DataKeyStore;
  /** The one that was asked for last comes last. */
  readonly #unwrapped = new Map<string, Promise<Buffer>>();
  #sealing: SealingKey | undefined;

  constructor(provider: KeyProvider, store: DataKeyStore) {
    this.#provider = provider;
    this.#store = store;
  }

  /**
   * The key to seal once with. It is in the store.
   *
   * @throws KeyUnavailableError, KeyRefusedError or what the store throws
   */
  sealingKey(): Promise<PlainDataKey> {
    const sealing = this.#freshSealingKey();
    sealing.seals++;
    return sealing.key.then(({ id, plain }) => new UnwrappedKey(id, plain));
  }

  /**
   * The key to open with what names it.
   *
   * @throws KeyMissingError, KeyUnavailableError, KeyRefusedError or what the store throws
   */
  openingKey(dataKeyId: string): Promise<PlainDataKey> {
    const id = dataKeyId.toLowerCase();
    const plain = this.#unwrapped.get(id) ?? this.#unwrap(id);
    this.#keep(id, plain);
    return plain.then((bytes) => new UnwrappedKey(id, bytes));
  }

  #freshSealingKey(): SealingKey {
    // Not Date: somebody may set the clock.
    const now = performance.now();
    const current = this.#sealing;
    if (current && current.seals < SEALS_PER_KEY && now - current.madeAt < KEY_LIFE_MS) return current;
    const sealing: SealingKey = { madeAt: now, key: this.#make(), seals: 0 };
    this.#sealing = sealing;
    sealing.key.catch(() => {
      if (this.#sealing === sealing) this.#sealing = undefined;
    });
    if (current) wipe(current.key.then(({ plain }) => plain));
    return sealing;
  }

  async #make(): Promise<PlainDataKey> {
    const id = newId();
    const { plain, keyId, wrapped } = await this.#provider.generateDataKey(id);
    assertWhole(plain, keyId);
    try {
      await this.#store.insert(id, { keyId, wrapped });
    } catch (error) {
      plain.fill(0);
      throw error;
    }
    this.#keep(id, Promise.resolve(copyOf(plain)));
    return { id, plain };
  }

  #unwrap(id: string): Promise<Buffer> {
    const plain = this.#readAndUnwrap(id);
    plain.catch(() => {
      if (this.#unwrapped.get(id) === plain) this.#unwrapped.delete(id);
    });
    return plain;
  }

  async #readAndUnwrap(id: string): Promise<Buffer> {
    const key = await this.#store.read(id);
    if (!key) throw new KeyMissingError(id, 'data');
    const plain = await this.#provider.unwrap(id, key);
    assertWhole(plain, key.keyId);
    return plain;
  }

  #keep(id: string, plain: Promise<Buffer>): void {
    this.#unwrapped.delete(id);
    this.#unwrapped.set(id, plain);
    if (this.#unwrapped.size <= MOST_UNWRAPPED) return;
    const [oldest] = this.#unwrapped;
    this.#unwrapped.delete(oldest![0]);
    wipe(oldest![1]);
  }
}

/** Those who wait for the key already have theirs copied first: what was added to a promise earlier runs earlier. */
function wipe(plain: Promise<Buffer>): void {
  plain.then(
    (bytes) => bytes.fill(0),
    () => undefined,
  );
}

/** A copy of its own, which stays as it is when the key is not kept any more. A log does not show its bytes. */
class UnwrappedKey implements PlainDataKey {
  readonly #plain: Buffer;

  constructor(
    readonly id: string,
    plain: Buffer,
  ) {
    this.#plain = copyOf(plain);
  }

  get plain(): Buffer {
    return this.#plain;
  }
}

/** In memory that is shared with nothing, unlike `Buffer.from`. */
function copyOf(plain: Buffer): Buffer {
  const copy = Buffer.alloc(plain.length);
  copy.set(plain);
  return copy;
}

/** A provider of somebody else's may give anything. */
function assertWhole(plain: Buffer, keyId: string): void {
  if ((plain as unknown) instanceof Uint8Array && plain.length === KEY_BYTES) return;
  throw new KeyRefusedError(keyId, 'answer');
}
