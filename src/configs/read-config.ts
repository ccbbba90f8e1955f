import { text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { assertOwned } from '../fence/assert-owned';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type DataKeys } from './data-keys';
import { openConfig, type PaymentConfig, STORED_CONFIGS, type StoredConfig, storedConfigs } from './stored-config';

/** One restaurant. */
export class RestaurantRef {
  @Uuid()
  restaurantId: string;
}

/** One version of a restaurant's configuration. */
export class ConfigVersionRef extends RestaurantRef {
  @Text(1, 50)
  configVersion: string;
}

/** By restaurant_payment_configs_one_active. One snapshot: between two activations there is the one or the other. */
const READ_ACTIVE = operation({
  name: 'read_active_config',
  input: { restaurant_id: uuid },
  output: storedConfigs,
  sql: `${STORED_CONFIGS}
    JOIN input USING (restaurant_id)
    WHERE is_active`,
});

const READ_VERSION = operation({
  name: 'read_config_version',
  input: { restaurant_id: uuid, config_version: text },
  output: storedConfigs,
  sql: `${STORED_CONFIGS}
    JOIN input USING (restaurant_id, config_version)`,
});

export const readActive = async (session: Session, restaurantId: string): Promise<StoredConfig | undefined> =>
  await session.row(READ_ACTIVE, { restaurant_id: restaurantId });

export const readVersion = async (session: Session, ref: ConfigVersionRef): Promise<StoredConfig | undefined> =>
  await session.row(READ_VERSION, { restaurant_id: ref.restaurantId, config_version: ref.configVersion });

/** SQL: the names that the guard of new versions refuses at any depth of the settings of a row of `processors`. */
export const ANY_SECRET_FIELDS = `ARRAY(
             SELECT DISTINCT field FROM processors AS any_processor CROSS JOIN unnest(any_processor.secret_fields) AS field
             WHERE NOT processors.settings_schema -> 'properties' ? field)`;

const READ_ANY_SECRET_FIELDS = operation({
  name: 'read_any_secret_fields',
  input: { processor_name: text },
  output: rowsOf<{ names: string[] }>(),
  sql: `SELECT ${ANY_SECRET_FIELDS} AS names FROM processors JOIN input USING (processor_name)`,
});

/** The names under which settings of a processor may have secrets: its own, and those of others that it has not as settings. */
export const readAnySecretFields = async (session: Session, processorName: string): Promise<string[]> =>
  (await session.row(READ_ANY_SECRET_FIELDS, { processor_name: processorName }))?.names ?? [];

/** The active version where none is named. */
export const readStored = async (session: Session, restaurantId: string, configVersion?: string) =>
  configVersion === undefined
    ? await readActive(session, restaurantId)
    : await readVersion(session, validateCommand({ ConfigVersionRef }, { restaurantId, configVersion }));

export async function getVersion(
  session: Session,
  keys: DataKeys,
  input: ConfigVersionRef,
): Promise<PaymentConfig | null> {
  const stored = await readVersion(session, validateCommand({ ConfigVersionRef }, input));
  if (stored) return await openConfig(stored, keys);
  await assertOwned(session, input.restaurantId);
  return null;
}
