import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { ExactJsonObject, isExactJsonObject, TextMap } from '../validation/json-rules';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { CIPHER_OVERHEAD_BYTES, decrypt, encrypt } from './authenticated-cipher';
import { SecretsUnreadableError } from './errors';
import { KEY_BYTES } from './key-provider';
import { Secret } from './secret';

/** The first byte of what this version seals. docs/reference/sealed-secrets.md has the format to the byte. */
const FORMAT = 1;
const ID_BYTES = 16;
const HEADER_BYTES = 1 + ID_BYTES;

/** The row that secrets are sealed for, with the settings beside them: they open in the same place only. */
export interface Place {
  readonly restaurantId: string;
  readonly configVersion: string;
  readonly processorName: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** A data key that is unwrapped. `plain` is 32 bytes. */
export interface PlainDataKey {
  readonly id: string;
  readonly plain: Buffer;
}

/** What is sealed, and where. */
export class SealCommand {
  @Uuid()
  dataKeyId: string;

  @Uuid()
  restaurantId: string;

  @Text(1, 50)
  configVersion: string;

  @Text(1, 50)
  processorName: string;

  @ExactJsonObject()
  settings: Readonly<Record<string, unknown>>;

  @TextMap()
  secrets: Readonly<Record<string, string>>;
}

/**
 * Seals secrets for one row. Each time it gives other bytes.
 *
 * @param secrets each by the name of its field
 * @throws InvalidCommandError naming what is malformed, never a value
 */
export function sealSecrets(dataKey: PlainDataKey, place: Place, secrets: Readonly<Record<string, string>>): Buffer {
  const { restaurantId, configVersion, processorName, settings } = place;
  const command = { dataKeyId: dataKey.id, restaurantId, configVersion, processorName, settings, secrets };
  const checked = validateCommand({ SealCommand }, command);
  const text = Buffer.from(canonicalize(checked.secrets)!);
  const header = Buffer.concat([Buffer.of(FORMAT), Buffer.from(checked.dataKeyId.replaceAll('-', ''), 'hex')]);
  const aad = aadOf(checked.dataKeyId, checked, Object.keys(checked.secrets));
  return Buffer.concat([header, encrypt(dataKey.plain, aad, text)]);
}

/**
 * Opens what {@link sealSecrets} gave, by the same key, in the same place.
 *
 * @param fields the names of the secrets, in any order
 * @throws SecretsUnreadableError where the key, the place, a setting, a name or any byte is another one
 */
export function openSecrets(
  dataKey: PlainDataKey,
  place: Place,
  fields: readonly string[],
  sealed: Uint8Array,
): Record<string, Secret> {
  const secrets = open(dataKey, place, fields, sealed);
  if (!secrets) throw new SecretsUnreadableError(place.restaurantId, place.configVersion);
  return secrets;
}

/** The id of the data key that sealed it, in lower case; undefined where the format is not known. */
export function dataKeyIdOf(sealed: Uint8Array): string | undefined {
  if (sealed[0] !== FORMAT || sealed.length < HEADER_BYTES + CIPHER_OVERHEAD_BYTES) return undefined;
  const hex = Buffer.from(sealed.subarray(1, HEADER_BYTES)).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function open(
  { id, plain }: PlainDataKey,
  place: Place,
  fields: readonly string[],
  sealed: Uint8Array,
): Record<string, Secret> | undefined {
  if (dataKeyIdOf(sealed) !== id.toLowerCase() || plain.length !== KEY_BYTES) return undefined;
  if (!isExactJsonObject(place.settings)) return undefined;
  const text = decrypt(plain, aadOf(id, place, fields), Buffer.from(sealed).subarray(HEADER_BYTES));
  return text && parse(text);
}

/** The error of JSON.parse would quote the text. */
function parse(text: Buffer): Record<string, Secret> | undefined {
  try {
    const secrets = Object.entries(JSON.parse(text.toString()) as Record<string, string>);
    return Object.fromEntries(secrets.map(([name, value]) => [name, new Secret(value)]));
  } catch {
    return undefined;
  } finally {
    text.fill(0);
  }
}

/** All that the secrets are bound to, in canonical JSON (RFC 8785): the order of keys does not matter. */
function aadOf(dataKeyId: string, place: Place, fields: readonly string[]): Buffer {
  const bound = {
    config_version: place.configVersion,
    data_key_id: dataKeyId.toLowerCase(),
    fields: [...fields].sort(),
    format: FORMAT,
    processor_name: place.processorName,
    purpose: 'payment-events-db/restaurant-payment-config',
    restaurant_id: place.restaurantId.toLowerCase(),
    settings_sha256: hash('sha256', canonicalize(place.settings)!),
  };
  return Buffer.from(canonicalize(bound)!);
}
