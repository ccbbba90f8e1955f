import { IsOptional } from 'class-validator';
import { integer, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { RestaurantRef } from './read-config';

/** How far a history goes back. */
export class HistoryOptions {
  /** At most so many versions: 1 to 1,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  limit?: number;
}

/** A version, without what it says. */
export interface ConfigRecord {
  readonly configVersion: string;
  readonly processorName: string;
  readonly isActive: boolean;
  /** When it was written, which is when it was made the active one. */
  readonly activatedAt: Date;
  /** Null where nobody said, as legacy services did not. */
  readonly activatedBy: string | null;
  /** Null while it is active. */
  readonly switchedOffAt: Date | null;
  readonly switchedOffBy: string | null;
  /** The version that a rollback has copied. */
  readonly copyOf: string | null;
  /** The names of its settings. */
  readonly settings: readonly string[];
  /** The names of its secrets. */
  readonly secrets: readonly string[];
  /** The names of settings that are not the same as in the version before, those that it no longer has included. */
  readonly changedSettings: readonly string[];
  /** The names of secrets that are stored as plain text: see `sealPlainSecrets`. */
  readonly plainSecrets: readonly string[];
}

/**
 * The versions of one restaurant are few, and all are read: the oldest that is listed is compared with one that is not. Equal times are
 * those of legacy rows alone, whose settings may be no object.
 */
const READ_HISTORY = operation({
  name: 'read_config_history',
  input: { restaurant_id: uuid, at_most: integer },
  output: rowsOf<
    Omit<ConfigRecord, 'settings' | 'secrets'> & { settingNames: string[]; sealedNames: string[] | null }
  >(),
  sql: `
    WITH versions AS (
      SELECT config_version, processor_name, is_active, config.created_at, created_by, updated_at, switched_off_by, copy_of,
             sealed_fields, secret_fields, settings,
             coalesce(lag(settings) OVER (ORDER BY config.created_at, config_version), '{}') AS before
      FROM restaurant_payment_configs AS config
      JOIN input USING (restaurant_id)
      JOIN processors USING (processor_name)
      CROSS JOIN LATERAL (
        SELECT CASE jsonb_typeof(processor_config) WHEN 'object' THEN processor_config ELSE '{}' END AS settings
      ) AS object
    )
    SELECT config_version AS "configVersion", processor_name AS "processorName", is_active AS "isActive",
           created_at AS "activatedAt", created_by AS "activatedBy",
           CASE WHEN NOT is_active THEN updated_at END AS "switchedOffAt", switched_off_by AS "switchedOffBy",
           copy_of AS "copyOf", sealed_fields AS "sealedNames",
           ARRAY(SELECT name FROM jsonb_object_keys(settings) AS name
                 WHERE name <> ALL (secret_fields) ORDER BY name COLLATE "C") AS "settingNames",
           ARRAY(SELECT name FROM jsonb_object_keys(settings) AS name
                 WHERE name = ANY (secret_fields) ORDER BY name COLLATE "C") AS "plainSecrets",
           ARRAY(SELECT name FROM jsonb_object_keys(settings || before) AS name
                 WHERE name <> ALL (secret_fields) AND settings -> name IS DISTINCT FROM before -> name
                 ORDER BY name COLLATE "C") AS "changedSettings"
    FROM versions
    ORDER BY created_at DESC, config_version DESC
    LIMIT (SELECT at_most FROM input)`,
});

/** Every version of a restaurant, newest first: nothing is ever deleted. */
export async function history(
  session: Session,
  restaurantId: string,
  options?: HistoryOptions,
): Promise<ConfigRecord[]> {
  const { limit = 100 } = validateOptions({ HistoryOptions }, options);
  const ref = validateCommand({ RestaurantRef }, { restaurantId });
  const rows = await session.rows(READ_HISTORY, { restaurant_id: ref.restaurantId, at_most: limit });
  return rows.map(({ settingNames, sealedNames, ...record }) => ({
    ...record,
    settings: settingNames,
    secrets: [...(sealedNames ?? []), ...record.plainSecrets].sort(),
  }));
}
