import { type RowsOf, rowsOf } from '../database/operation';
import { type DataKeys } from './data-keys';
import { openSecrets, type Place, sealSecrets } from './sealed-secrets';
import { Secret } from './secret';

/** One version of how a restaurant's payments are processed. */
export interface PaymentConfig {
  readonly restaurantId: string;
  readonly configVersion: string;
  readonly processorName: string;
  /** What the processor's client needs and may be seen. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What it needs and nobody may see, by the name of the field: `secrets.api_key.reveal()`. */
  readonly secrets: Readonly<Record<string, Secret>>;
  readonly isActive: boolean;
  readonly createdAt: Date;
}

/** A version as it is read, with the names of its processor's secrets. */
export interface StoredConfig {
  restaurant_id: string;
  config_version: string;
  processor_name: string;
  processor_config: Record<string, unknown>;
  is_active: boolean;
  created_at: Date;
  sealed_secrets: Buffer | null;
  sealed_fields: string[] | null;
  data_key_id: string | null;
  secret_fields: string[];
}

export const storedConfigs: RowsOf<StoredConfig> = rowsOf<StoredConfig>();

/**
 * SQL: versions, each with the names of its processor's secrets.
 *
 * @param table the table, or a part of a statement that has its columns
 */
export const storedConfigsIn = (table: string) => `
    SELECT restaurant_id, config_version, processor_name, processor_config, is_active, config.created_at,
           sealed_secrets, sealed_fields, data_key_id, secret_fields
    FROM ${table} AS config
    JOIN processors USING (processor_name)`;

/** SQL: all versions that there are. */
export const STORED_CONFIGS = storedConfigsIn('restaurant_payment_configs');

/**
 * Opens what is sealed. A version of before there were seals has its secrets among its settings: they are told apart, so that
 * callers need not know.
 *
 * @throws SecretsUnreadableError, KeyMissingError, KeyRefusedError, KeyUnavailableError
 */
export async function openConfig(stored: StoredConfig, keys: DataKeys): Promise<PaymentConfig> {
  const { settings, plain } = withoutSecrets(stored);
  return Object.freeze({
    ...placeOf(stored, frozen(settings)),
    secrets: Object.freeze({ ...(await openSealed(stored, keys)), ...plain }),
    isActive: stored.is_active,
    createdAt: stored.created_at,
  });
}

/** To the last value: one that is kept is given to many. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const part of Object.values(value)) frozen(part);
  return Object.freeze(value);
}

/** What a ciphertext is bound to. */
export const placeOf = (stored: StoredConfig, settings: Record<string, unknown>) => ({
  restaurantId: stored.restaurant_id,
  configVersion: stored.config_version,
  processorName: stored.processor_name,
  settings,
});

/** What is stored of secrets that are sealed for a place. */
export interface SealedColumns {
  readonly sealed_secrets: Buffer;
  readonly sealed_fields: string[];
  readonly data_key_id: string;
}

/** @throws InvalidCommandError, KeyRefusedError, KeyUnavailableError */
export async function sealForPlace(
  place: Place,
  secrets: Readonly<Record<string, string>>,
  keys: DataKeys,
): Promise<SealedColumns> {
  const dataKey = await keys.sealingKey();
  try {
    const sealed_secrets = sealSecrets(dataKey, place, secrets);
    return { sealed_secrets, sealed_fields: Object.keys(secrets).sort(), data_key_id: dataKey.id };
  } finally {
    dataKey.plain.fill(0);
  }
}

async function openSealed(stored: StoredConfig, keys: DataKeys): Promise<Record<string, Secret>> {
  const { sealed_secrets: sealed, sealed_fields: fields, data_key_id: id } = stored;
  if (!sealed || !fields || id === null) return {};
  const dataKey = await keys.openingKey(id);
  try {
    const opened = openSecrets(dataKey, placeOf(stored, stored.processor_config), fields, sealed);
    return Object.fromEntries(Object.entries(opened).filter(([, secret]) => secret.reveal() !== ''));
  } finally {
    dataKey.plain.fill(0);
  }
}

/**
 * Settings and secrets of a version that has both in one object. A secret that legacy services have written as something else
 * than text is told as its JSON; an empty one, and null, is none.
 */
export function withoutSecrets({ processor_config: settings, secret_fields: names }: StoredConfig): {
  readonly settings: Record<string, unknown>;
  readonly plain: Record<string, Secret>;
} {
  const fields = Object.entries(settings);
  const secrets = fields.filter(([name, value]) => names.includes(name) && value !== null && value !== '');
  return {
    settings: Object.fromEntries(fields.filter(([name]) => !names.includes(name))),
    plain: Object.fromEntries(
      secrets.map(([name, value]) => [name, new Secret(typeof value === 'string' ? value : JSON.stringify(value))]),
    ),
  };
}
