import { orNull, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { untilDecided } from '../database/repeat';
import { type Session } from '../database/session';
import { assertOwned } from '../fence/assert-owned';
import { validateCommand } from '../validation/validate-command';
import { type ConfigChange, validChange } from './activate';
import { ConfigConflictError } from './errors';
import { readActive, RestaurantRef } from './read-config';

/** What was switched off. */
export interface DeactivatedConfig {
  /** Null where none was active. */
  readonly configVersion: string | null;
}

/**
 * One that waits for an activation finds the row switched off and does not see the new one: it is run again then, until it has
 * switched one off or there is none.
 */
const DEACTIVATE = operation({
  name: 'deactivate_config',
  input: { restaurant_id: uuid, actor: text, expected_version: orNull(text) },
  output: rowsOf<{ config_version: string }>(),
  sql: `
    UPDATE restaurant_payment_configs AS config
    SET is_active = false, switched_off_by = actor
    FROM input
    WHERE config.restaurant_id = input.restaurant_id AND is_active
      AND (expected_version IS NULL OR config.config_version = expected_version)
    RETURNING config.config_version`,
});

/** Leaves a restaurant without an active version. */
export async function deactivate(
  session: Session,
  restaurantId: string,
  change: ConfigChange,
): Promise<DeactivatedConfig> {
  const ref = validateCommand({ RestaurantRef }, { restaurantId });
  const { by, expectedVersion = null } = validChange(session, 'deactivate', change);
  const input = { restaurant_id: ref.restaurantId, actor: by, expected_version: expectedVersion };
  return await untilDecided(async () => {
    const switchedOff = await session.row(DEACTIVATE, input);
    if (switchedOff) return { configVersion: switchedOff.config_version };
    const active = await readActive(session, ref.restaurantId);
    if (!active || expectedVersion !== null) await assertOwned(session, ref.restaurantId);
    if (!active) return { configVersion: null };
    if (expectedVersion !== null) throw new ConfigConflictError(ref.restaurantId, active.config_version);
    return undefined;
  });
}
