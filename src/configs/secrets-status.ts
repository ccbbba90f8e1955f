import { type DataSource } from 'typeorm';
import { operation, rowsOf } from '../database/operation';
import { sessionOf } from '../database/session';
import { IS_OWNED, ownedColumns, readOwned } from '../fence/owned';
import { ANY_SECRET_FIELDS } from './read-config';
import { HAS_PLAIN_SECRET } from './seal-plain-secrets';

/** How the secrets of all restaurants are kept. */
export interface SecretsStatus {
  /** Versions that have secrets in plain text: `sealPlainSecrets` has them to do. */
  readonly plain: number;
  readonly sealed: number;
  /**
   * Versions of before there were seals that have a secret where it cannot be sealed: deeper in their settings, or under the name
   * of another processor's. Activate a new version of what is active, and have the processor issue a new key.
   */
  readonly nested: number;
  /** Data keys by the key-encryption key that they are wrapped under. */
  readonly dataKeys: readonly { readonly keyId: string; readonly dataKeys: number }[];
}

const COUNT = operation({
  name: 'count_secrets',
  input: ownedColumns,
  output: rowsOf<{ plain: number; sealed: number; nested: number; keys: { keyId: string; dataKeys: number }[] }>(),
  sql: `
    SELECT (count(*) FILTER (WHERE ${HAS_PLAIN_SECRET}))::integer AS plain,
           (count(*) FILTER (WHERE sealed_secrets IS NOT NULL))::integer AS sealed,
           (count(*) FILTER (WHERE EXISTS (
             SELECT FROM jsonb_path_query(processor_config - secret_fields, 'strict $.**') AS part
             WHERE jsonb_typeof(part) = 'object' AND part ?| ${ANY_SECRET_FIELDS})))::integer AS nested,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('keyId', key_encryption_key_id, 'dataKeys', number)
                                      ORDER BY key_encryption_key_id), '[]')
            FROM (SELECT key_encryption_key_id, count(*) AS number FROM data_keys GROUP BY 1) AS counted) AS keys
    FROM restaurant_payment_configs JOIN processors USING (processor_name) CROSS JOIN input WHERE ${IS_OWNED}`,
});

/**
 * Counts what is sealed, what is left to be, and what is wrapped under which key. Reads all versions of all restaurants. Those of
 * restaurants that have moved to another database count there: here a split deletes them.
 *
 * @throws ConfigurationError the fences of the tables do not agree; WrongShardError a split sends restaurants to this database
 */
export async function secretsStatus(dataSource: DataSource): Promise<SecretsStatus> {
  const session = sessionOf(dataSource);
  const counted = await session.row(COUNT, await readOwned(session));
  const { plain, sealed, nested, keys } = counted!;
  return { plain, sealed, nested, dataKeys: keys };
}
