import { text, uuid } from '../database/columns';
import { operation } from '../database/operation';
import { type Session } from '../database/session';
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
  return stored ? await openConfig(stored, keys) : null;
}
