import { type Session } from '../database/session';
import { validateCommand } from '../validation/validate-command';
import { type ActivatedConfig, type ConfigChange, validChange, writeVersion } from './activate';
import { type DataKeys } from './data-keys';
import { ConfigNotFoundError } from './errors';
import { ConfigVersionRef, getVersion } from './read-config';

/**
 * Writes what an earlier version says as a new one. It is opened first: what cannot be opened any more is never made active.
 */
export async function rollback(
  session: Session,
  keys: DataKeys,
  ref: ConfigVersionRef,
  change: ConfigChange,
): Promise<ActivatedConfig> {
  const { restaurantId, configVersion } = validateCommand({ ConfigVersionRef }, ref);
  const { by, expectedVersion } = validChange(session, 'rollback', change);
  const config = await getVersion(session, keys, { restaurantId, configVersion });
  if (!config) throw new ConfigNotFoundError(restaurantId, configVersion);
  return await writeVersion(session, keys, { ...config, by, expectedVersion, copyOf: configVersion });
}
