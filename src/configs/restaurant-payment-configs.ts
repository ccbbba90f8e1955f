import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { sessionOf } from '../database/session';
import { assertOwned } from '../fence/assert-owned';
import { HasMethods } from '../validation/option-rules';
import { WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { validateSettings } from '../validation/validate-options';
import { activate, type ActivatedConfig, type ConfigChange, type ConfigContent } from './activate';
import { ConfigCache } from './config-cache';
import { dataKeyStore } from './data-key-store';
import { DataKeys } from './data-keys';
import { deactivate, type DeactivatedConfig } from './deactivate';
import { type ConfigRecord, history, type HistoryOptions } from './history';
import { type KeyProvider } from './key-provider';
import { getVersion, readActive, RestaurantRef } from './read-config';
import { rollback } from './rollback';
import { openConfig, type PaymentConfig } from './stored-config';

/** What opens and seals secrets, and for how long what was opened is kept. */
export class PaymentConfigsOptions {
  /** Who has the key-encryption keys: a keyring (`readKeyring`), or AWS KMS (`payment-events-db/aws-kms`). */
  @HasMethods('a KeyProvider, such as await readKeyring(path)', 'generateDataKey', 'unwrap', 'rewrap')
  keys: KeyProvider;

  /**
   * For how long `getActive` may go on giving what it has read, in milliseconds: 0 to an hour. A version that is switched off is
   * given no longer than that. Default 0: it reads each time.
   */
  @IsOptional()
  @WholeNumber(0, 3_600_000)
  cacheTtlMs?: number;
}

/**
 * How each restaurant's payments are processed: the processor, its settings, and the secrets for it, which leave this process
 * sealed alone. A version never changes; at most one of a restaurant is active.
 *
 * Envelope encryption (NIST SP 800-57 Part 1, 5.3.5 and 6.2; AWS KMS Developer Guide, "Envelope encryption"), each ciphertext bound to its
 * restaurant, version, processor, fields and settings: moved to another row, it does not open. See docs/reference/sealed-secrets.md.
 *
 * Beside the errors named, all throw `InvalidCommandError` before anything is written, and the retryable
 * `DatabaseUnavailableError` and `DatabaseTimeoutError`; and `WrongShardError`, where a change is of a restaurant that the database
 * refuses, or what is asked for is not there since it has moved. What opens or seals also throws `KeyUnavailableError`, retryable: the
 * keys are away; `KeyRefusedError`, `KeyMissingError`: the key may not be used, or is not there; and `SecretsUnreadableError`: what is
 * stored is not what was sealed for this place.
 *
 * @example
 * const configs = new RestaurantPaymentConfigs(dataSource, {
 *   keys: await readKeyring('/run/secrets/keyring.json'),
 * });
 * const config = await configs.getActive(restaurantId);
 * if (config) stripe.pay(config.secrets.api_key!.reveal());
 */
export class RestaurantPaymentConfigs {
  readonly #dataSource: DataSource;
  readonly #keys: DataKeys;
  readonly #cache: ConfigCache<PaymentConfig | null>;

  /** @throws ConfigurationError an option is malformed */
  constructor(dataSource: DataSource, options: PaymentConfigsOptions) {
    const { keys, cacheTtlMs = 0 } = validateSettings({ PaymentConfigsOptions }, options);
    this.#dataSource = dataSource;
    this.#keys = new DataKeys(keys, dataKeyStore(sessionOf(dataSource)));
    this.#cache = new ConfigCache(cacheTtlMs);
  }

  /**
   * Writes a new version and makes it the active one, by one statement. Of two at once one is told of the other.
   *
   * @param change `expectedVersion`: only where that one is active, so that nobody's change is undone unseen
   * @throws ConfigConflictError another version was made active meanwhile, or is active instead of the expected one
   * @throws InvalidCommandError a field is unknown to the processor, missing, or a secret among the settings; or the settings
   *   have a whole number beyond ±(2^53 − 1), which JSON does not carry
   *
   * @example
   * const { configVersion } = await configs.activate(
   *   restaurantId,
   *   { processorName: 'stripe', settings: { statement_descriptor: 'TRATTORIA' }, secrets: { api_key: 'sk_test_4eC39H' } },
   *   { by: 'kim', expectedVersion: config.configVersion },
   * );
   */
  async activate(restaurantId: string, content: ConfigContent, change: ConfigChange): Promise<ActivatedConfig> {
    return await this.#changing(restaurantId, () =>
      activate(sessionOf(this.#dataSource), this.#keys, restaurantId, content, change),
    );
  }

  /**
   * What a worker goes by: the active version, opened. One indexed read and one decryption; `cacheTtlMs` spares both.
   *
   * @returns null where none is active: the request is refused as CONFIG_NOT_FOUND, nobody was asked
   */
  async getActive(restaurantId: string): Promise<PaymentConfig | null> {
    const ref = validateCommand({ RestaurantRef }, { restaurantId });
    return await this.#cache.get(ref.restaurantId.toLowerCase(), async () => {
      const session = sessionOf(this.#dataSource);
      const stored = await readActive(session, ref.restaurantId);
      if (stored) return await openConfig(stored, this.#keys);
      await assertOwned(session, ref.restaurantId);
      return null;
    });
  }

  /**
   * The version that an attempt names, also where another one is active by now: what settles or voids goes by the
   * configuration that asked.
   *
   * @returns null where there is none
   */
  async getVersion(restaurantId: string, configVersion: string): Promise<PaymentConfig | null> {
    return await getVersion(sessionOf(this.#dataSource), this.#keys, { restaurantId, configVersion });
  }

  /** Who made which version active when, newest first: the names of its fields, and nothing that is in them. */
  async history(restaurantId: string, options?: HistoryOptions, manager?: EntityManager): Promise<ConfigRecord[]> {
    return await history(sessionOf(this.#dataSource, manager), restaurantId, options);
  }

  /**
   * Switches the active version off. What is under way under it may still end: see {@link getVersion}.
   *
   * @throws ConfigConflictError another version is active than the expected one
   */
  async deactivate(restaurantId: string, change: ConfigChange): Promise<DeactivatedConfig> {
    return await this.#changing(restaurantId, () => deactivate(sessionOf(this.#dataSource), restaurantId, change));
  }

  /**
   * Makes active what an earlier version says, as a new version: a version that was switched off stays so, and the history
   * tells of each time. What does not open, or is not valid any more, is not made active.
   *
   * @throws ConfigNotFoundError there is no such version of that restaurant
   * @throws ConfigConflictError as of {@link activate}
   */
  async rollback(restaurantId: string, to: string, change: ConfigChange): Promise<ActivatedConfig> {
    return await this.#changing(restaurantId, () =>
      rollback(sessionOf(this.#dataSource), this.#keys, { restaurantId, configVersion: to }, change),
    );
  }

  /** What this process has changed itself, it sees at once. */
  async #changing<T>(restaurantId: string, change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } finally {
      this.#cache.forget(String(restaurantId).toLowerCase());
    }
  }
}
