import { IsOptional } from 'class-validator';
import { FreeId, FreeText } from '../card-numbers/free-fields';
import { screenNew, screenReport } from '../card-numbers/screen';
import { arrayOf, bytea, jsonb, orNull, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { repeatOnce } from '../database/repeat';
import { type Session } from '../database/session';
import { ConstraintViolationError, InvalidCommandError } from '../errors';
import { assertOwned } from '../fence/assert-owned';
import { JsonObject } from '../validation/json-rules';
import { Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type DataKeys } from './data-keys';
import { ConfigConflictError } from './errors';
import { problemsOf, readRules } from './processor-rules';
import { RestaurantRef, readActive, readVersion } from './read-config';
import { type Place } from './sealed-secrets';
import { Secret } from './secret';
import { SecretMap } from './secret-map';
import { sealForPlace } from './stored-config';

/** How a restaurant's payments are to be processed. */
export class ConfigContent {
  /** A row of `processors`. */
  @Text(1, 50)
  processorName: string;

  /**
   * What the processor's client needs and may be seen, by the processor's `settings_schema`. What looks like a card number may be
   * the number of a merchant: `cardNumbers` has it reported or refused, and never masked.
   */
  @FreeId()
  @JsonObject()
  settings: Record<string, unknown>;

  /** What it needs and nobody may see, by the names in the processor's `secret_fields`: texts of 1 to 10,000 characters. Default: none. */
  @IsOptional()
  @SecretMap()
  secrets?: Readonly<Record<string, string | Secret>>;
}

/** Who changes what is active. */
export class ConfigChange {
  /** Who decided it: kept with the version. */
  @FreeText()
  @Text(1, 255)
  by: string;

  /** Only where this version is the active one. Default: whichever is, or none. */
  @IsOptional()
  @Text(1, 50)
  expectedVersion?: string;
}

/** A version that was written and made the active one. */
export interface ActivatedConfig {
  readonly configVersion: string;
  /** The version that was active until then. Null where none was, or where a lost answer left it unknown. */
  readonly replaced: string | null;
  readonly activatedAt: Date;
}

/**
 * At any moment at most one version is active: restaurant_payment_configs_one_active. The new row is inserted after the old one is
 * switched off, since it is made of what that gives.
 *
 * Under READ COMMITTED two at once meet at the row that both switch off. The second finds it switched off, and its own snapshot
 * does not have the new one: it writes nothing where it expected a version, and fails at the index where it did not. So do two
 * that are the first of a restaurant. Each locks one row and then waits for one key at most: no deadlock.
 *
 * The guard of new versions asks the clock, under that lock: versions are in the order of their times.
 */
const ACTIVATE = operation({
  name: 'activate_config',
  input: {
    ...{ restaurant_id: uuid, config_version: text, processor_name: text, settings: jsonb, actor: text },
    ...{ expected_version: orNull(text), copy_of: orNull(text) },
    ...{ sealed_secrets: orNull(bytea), sealed_fields: orNull(arrayOf(text)), data_key_id: orNull(uuid) },
  },
  output: rowsOf<{ replaced: string | null; created_at: Date }>(),
  sql: `
    WITH switched_off AS (
      UPDATE restaurant_payment_configs AS config
      SET is_active = false, switched_off_by = actor
      FROM input
      WHERE config.restaurant_id = input.restaurant_id AND is_active
        AND (expected_version IS NULL OR config.config_version = expected_version)
      RETURNING config.config_version
    ), added AS (
      INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config,
        sealed_secrets, sealed_fields, data_key_id, copy_of, created_by)
      SELECT restaurant_id, input.config_version, processor_name, settings, sealed_secrets, sealed_fields, data_key_id,
             copy_of, actor
      FROM input LEFT JOIN switched_off ON true
      WHERE expected_version IS NULL OR switched_off.config_version IS NOT NULL
      RETURNING created_at
    )
    SELECT (SELECT config_version FROM switched_off) AS replaced, created_at FROM added`,
});

/** Writes a version and makes it the active one. */
export async function activate(
  session: Session,
  keys: DataKeys,
  restaurantId: string,
  content: ConfigContent,
  change: ConfigChange,
): Promise<ActivatedConfig> {
  const ref = validateCommand({ RestaurantRef }, { restaurantId });
  const given = validateCommand({ ConfigContent }, content);
  const { by, expectedVersion } = validChange(session, 'activate', change);
  const { processorName, settings, secrets = {} } = screenNew(session.dataSource, 'activate', { ConfigContent: given });
  return await writeVersion(session, keys, {
    ...{ restaurantId: ref.restaurantId.toLowerCase(), processorName, settings, secrets, copyOf: null },
    ...{ by, expectedVersion },
  });
}

/** @throws InvalidCommandError */
export const validChange = ({ dataSource }: Session, operation: string, change: ConfigChange): ConfigChange =>
  screenReport(dataSource, operation, validateCommand({ ConfigChange }, change));

/** A version that is to be written. */
interface NewVersion extends ConfigChange {
  readonly restaurantId: string;
  readonly processorName: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, string | Secret>>;
  readonly copyOf: string | null;
}

/**
 * Its name is drawn here, since what is sealed is bound to it.
 *
 * @throws InvalidCommandError, ConfigConflictError
 */
export async function writeVersion(session: Session, keys: DataKeys, version: NewVersion): Promise<ActivatedConfig> {
  const { restaurantId, processorName, settings, secrets, by, expectedVersion = null, copyOf } = version;
  const problems = problemsOf(version, await readRules(session, processorName));
  if (problems.length > 0) throw new InvalidCommandError('ConfigContent', problems);
  const configVersion = newId();
  const sealed = await seal(keys, { restaurantId, configVersion, processorName, settings }, secrets);
  const input = {
    ...{ restaurant_id: restaurantId, config_version: configVersion, processor_name: processorName, settings },
    ...{ actor: by, expected_version: expectedVersion, copy_of: copyOf, ...sealed },
  };
  const written = await repeatOnce(() => session.row(ACTIVATE, input)).catch((error: unknown) => {
    if (!isTaken(error)) throw error;
  });
  if (written) return { configVersion, replaced: written.replaced, activatedAt: written.created_at };
  // A first run of this call, whose answer was lost.
  const own = await readVersion(session, { restaurantId, configVersion });
  if (own) return { configVersion, replaced: expectedVersion, activatedAt: own.created_at };
  await assertOwned(session, restaurantId);
  throw new ConfigConflictError(restaurantId, (await readActive(session, restaurantId))?.config_version ?? null);
}

/** There is another active one, or this one is there already. */
const isTaken = (error: unknown) =>
  error instanceof ConstraintViolationError &&
  ['restaurant_payment_configs_one_active', 'restaurant_payment_configs_pkey'].includes(error.constraint);

async function seal(keys: DataKeys, place: Place, secrets: Readonly<Record<string, string | Secret>>) {
  const texts = Object.entries(secrets).map(
    ([name, secret]) => [name, secret instanceof Secret ? secret.reveal() : secret] as const,
  );
  if (texts.length === 0) return { sealed_secrets: null, sealed_fields: null, data_key_id: null };
  return await sealForPlace(place, Object.fromEntries(texts), keys);
}
