import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { bytea, integer, orNull, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { sessionOf } from '../database/session';
import { Callable } from '../validation/option-rules';
import { WholeNumber } from '../validation/rules';
import { validateOptions } from '../validation/validate-options';
import { KeyMissingError, KeyRefusedError } from './errors';
import { type KeyProvider } from './key-provider';

/** How it goes about it. */
export class RotateOptions {
  /** How many data keys are read at a time: 1 to 1,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  batchSize?: number;

  /** Is told after each batch. */
  @IsOptional()
  @Callable()
  onProgress?: (rotated: Rotated) => void;
}

/** What a rotation came to. */
export interface Rotated {
  /** Data keys that were looked at. */
  readonly seen: number;
  /** Of these, the ones that are wrapped under the active key now, and were not before. */
  readonly rewrapped: number;
}

interface DataKeyRow {
  data_key_id: string;
  key_encryption_key_id: string;
  wrapped: Buffer;
}

const READ_DATA_KEYS = operation({
  name: 'read_data_keys',
  input: { after_id: orNull(uuid), batch_size: integer },
  output: rowsOf<DataKeyRow>(),
  sql: `
    SELECT data_key_id, key_encryption_key_id, wrapped FROM data_keys CROSS JOIN input
    WHERE after_id IS NULL OR data_key_id > after_id
    ORDER BY data_key_id
    LIMIT (SELECT batch_size FROM input)`,
});

/** Of two that rotate at once the second finds the row changed, and changes nothing: either wrapping opens. */
const REWRAP = operation({
  name: 'rewrap_data_key',
  input: { data_key_id: uuid, was: bytea, key_encryption_key_id: text, wrapped: bytea },
  sql: `
    UPDATE data_keys
    SET key_encryption_key_id = input.key_encryption_key_id, wrapped = input.wrapped, rewrapped_at = clock_timestamp()
    FROM input
    WHERE data_keys.data_key_id = input.data_key_id AND data_keys.wrapped = was`,
});

/**
 * Wraps every data key under the key-encryption key that is active now, online: versions and what they hold stay as they are.
 * One row at a time, so that it may be ended at any time and run again: what is done is skipped. The key before must still be
 * there, until the rotation has ended and no process makes data keys under it any more.
 *
 * @throws KeyMissingError, KeyRefusedError of the first data key that could not be wrapped again, when all others are
 * @throws KeyUnavailableError, InvalidCommandError
 *
 * @example
 * const { rewrapped } = await rotateDataKeys(dataSource, keys);
 */
export async function rotateDataKeys(
  dataSource: DataSource,
  provider: KeyProvider,
  options?: RotateOptions,
): Promise<Rotated> {
  const { batchSize = 100, onProgress } = validateOptions({ RotateOptions }, options);
  const session = sessionOf(dataSource);
  const failures: Error[] = [];
  let [seen, rewrapped] = [0, 0];
  for (let after_id: string | null = null; ;) {
    const batch: DataKeyRow[] = await session.rows(READ_DATA_KEYS, { after_id, batch_size: batchSize });
    for (const { data_key_id, key_encryption_key_id: keyId, wrapped: was } of batch) {
      const rewrappedKey = await provider.rewrap(data_key_id, { keyId, wrapped: was }).catch((error: unknown) => {
        if (!isOfOneKey(error)) throw error;
        failures.push(error);
      });
      if (!rewrappedKey || rewrappedKey.keyId === keyId) continue;
      const { keyId: newKeyId, wrapped } = rewrappedKey;
      rewrapped += await session.write(REWRAP, { data_key_id, was, key_encryption_key_id: newKeyId, wrapped });
    }
    seen += batch.length;
    onProgress?.({ seen, rewrapped });
    if (batch.length < batchSize) break;
    after_id = batch.at(-1)!.data_key_id;
  }
  if (failures.length > 0) throw failures[0]!;
  return { seen, rewrapped };
}

/** The others may still be wrapped again. */
const isOfOneKey = (error: unknown): error is Error =>
  error instanceof KeyMissingError || error instanceof KeyRefusedError;
