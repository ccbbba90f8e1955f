import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { arrayOf, bytea, integer, orNull, text, uuid } from '../database/columns';
import { operation } from '../database/operation';
import { type Session, sessionOf } from '../database/session';
import { transaction } from '../database/transaction';
import { Callable } from '../validation/option-rules';
import { isExactJsonObject } from '../validation/json-rules';
import { WholeNumber } from '../validation/rules';
import { validateOptions } from '../validation/validate-options';
import { dataKeyStore } from './data-key-store';
import { IS_OWNED, type ownedBy, ownedColumns, readOwned } from '../fence/owned';
import { DataKeys } from './data-keys';
import { SecretsUnreadableError } from './errors';
import { type KeyProvider } from './key-provider';
import {
  openConfig,
  placeOf,
  sealForPlace,
  STORED_CONFIGS,
  type StoredConfig,
  storedConfigs,
  storedConfigsIn,
  withoutSecrets,
} from './stored-config';

/** How it goes about it. */
export class SealOptions {
  /** How many versions a transaction: 1 to 1,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  batchSize?: number;

  /** Is told after each batch how many versions are sealed by now. */
  @IsOptional()
  @Callable()
  onProgress?: (sealed: number) => void;
}

/** SQL: a version that has one of its processor's secrets among its settings. */
export const HAS_PLAIN_SECRET = `sealed_secrets IS NULL AND jsonb_typeof(processor_config) = 'object'
      AND processor_config ?| secret_fields`;

/** Those after a version, in the order of the primary key. Locked, so that two that seal at once take different ones. */
const READ_PLAIN = operation({
  name: 'read_plain_configs',
  input: {
    ...{ after_restaurant: orNull(uuid), after_version: orNull(text), batch_size: integer },
    ...ownedColumns,
  },
  output: storedConfigs,
  sql: `${STORED_CONFIGS}
    CROSS JOIN input
    WHERE (after_restaurant IS NULL OR (restaurant_id, config_version) > (after_restaurant, after_version))
      AND ${HAS_PLAIN_SECRET} AND ${IS_OWNED}
    ORDER BY restaurant_id, config_version
    LIMIT (SELECT batch_size FROM input)
    FOR NO KEY UPDATE OF config SKIP LOCKED`,
});

/** The guard lets through this change alone, once for each version. */
const SEAL = operation({
  name: 'seal_plain_config',
  input: {
    ...{ restaurant_id: uuid, config_version: text },
    ...{ sealed_secrets: bytea, sealed_fields: arrayOf(text), data_key_id: uuid },
  },
  output: storedConfigs,
  sql: `
    WITH sealed AS (
      UPDATE restaurant_payment_configs AS config
      SET processor_config = processor_config - input.sealed_fields, sealed_secrets = input.sealed_secrets, sealed_fields = input.sealed_fields,
          data_key_id = input.data_key_id
      FROM input
      WHERE config.restaurant_id = input.restaurant_id AND config.config_version = input.config_version
      RETURNING config.restaurant_id, config.config_version, processor_name, processor_config, is_active,
                config.created_at, config.sealed_secrets, config.sealed_fields, config.data_key_id
    )
    ${storedConfigsIn('sealed')}`,
});

/** Whether there is one at all: a data key is made for nothing else. */
const IS_ONE_PLAIN = operation({
  name: 'is_one_config_plain',
  input: ownedColumns,
  sql: `
    SELECT FROM restaurant_payment_configs JOIN processors USING (processor_name) CROSS JOIN input
    WHERE ${HAS_PLAIN_SECRET} AND ${IS_OWNED} LIMIT 1`,
});

/** What sealing came to. */
export interface Sealed {
  /** Versions whose secrets were sealed. */
  readonly sealed: number;
  /**
   * Versions that could not be, and stay plain: their settings have a whole number beyond ±(2^53 − 1), to which nothing can be
   * bound. Activate a new version of what is active.
   */
  readonly left: readonly { readonly restaurantId: string; readonly configVersion: string }[];
}

/**
 * Seals the secrets that stand in plain text among the settings of versions of before there were seals, online and in batches.
 * Each is opened again, from what the database has stored, before its transaction commits. It may be ended at any time, and run
 * again: it goes on.
 *
 * Plain text stays in dead row versions until they are vacuumed, in the write-ahead log, in replicas' logs and in backups:
 * have the processors issue new keys, and activate them. Of restaurants that have moved to another database nothing is sealed here.
 *
 * @throws InvalidCommandError; KeyUnavailableError, KeyRefusedError; OutcomeUnknownError
 *
 * @example
 * const { sealed, left } = await sealPlainSecrets(dataSource, keys);
 */
export async function sealPlainSecrets(
  dataSource: DataSource,
  provider: KeyProvider,
  options?: SealOptions,
): Promise<Sealed> {
  const { batchSize = 100, onProgress } = validateOptions({ SealOptions }, options);
  const session = sessionOf(dataSource);
  const left: { restaurantId: string; configVersion: string }[] = [];
  const own = await readOwned(session);
  if ((await session.write(IS_ONE_PLAIN, own)) === 0) return { sealed: 0, left };
  const keys = new DataKeys(provider, dataKeyStore(session));
  let after: StoredConfig | undefined;
  for (let seen = 0; ;) {
    // Before the transaction, which must not wait for a key service.
    (await keys.sealingKey()).plain.fill(0);
    const batch = await transaction(dataSource, {}, (within) =>
      sealBatch(within, keys, after, { batch_size: batchSize, ...own }),
    );
    seen += batch.seen.length;
    left.push(...batch.left);
    after = batch.seen.at(-1);
    onProgress?.(seen - left.length);
    if (batch.seen.length < batchSize) return { sealed: seen - left.length, left };
  }
}

async function sealBatch(
  session: Session,
  keys: DataKeys,
  after: StoredConfig | undefined,
  batch: { readonly batch_size: number } & ReturnType<typeof ownedBy>,
) {
  const seen = await session.rows(READ_PLAIN, {
    after_restaurant: after?.restaurant_id ?? null,
    after_version: after?.config_version ?? null,
    ...batch,
  });
  const left: { restaurantId: string; configVersion: string }[] = [];
  for (const stored of seen) {
    if (isExactJsonObject(stored.processor_config)) await sealOne(session, keys, stored);
    else left.push({ restaurantId: stored.restaurant_id, configVersion: stored.config_version });
  }
  return { seen, left };
}

/** All secrets at once, the empty ones included: the guard lets none stay. */
async function sealOne(session: Session, keys: DataKeys, stored: StoredConfig): Promise<void> {
  const { settings, plain } = withoutSecrets(stored);
  const names = Object.keys(stored.processor_config).filter((name) => stored.secret_fields.includes(name));
  const texts = Object.fromEntries(names.map((name) => [name, plain[name]?.reveal() ?? '']));
  const [after] = await session.rows(SEAL, {
    restaurant_id: stored.restaurant_id,
    config_version: stored.config_version,
    ...(await sealForPlace(placeOf(stored, settings), texts, keys)),
  });
  const opened = after && (await openConfig(after, keys)).secrets;
  const isSame = opened && names.every((name) => (opened[name]?.reveal() ?? '') === texts[name]);
  if (!isSame) throw new SecretsUnreadableError(stored.restaurant_id, stored.config_version);
}
