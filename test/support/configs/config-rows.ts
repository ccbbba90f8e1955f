import { randomBytes, randomUUID } from 'node:crypto';

/** Of whatever library. */
interface Session {
  query(sql: string, values?: unknown[]): Promise<unknown>;
}

/** Columns of a version, by name. */
export type ConfigRow = Record<string, unknown>;

/** A version without secrets, as a client of the newest schema inserts it. */
export const aConfig = (given: ConfigRow = {}): ConfigRow => ({
  restaurant_id: randomUUID(),
  config_version: 'v1',
  processor_name: 'stripe',
  processor_config: { statement_descriptor: 'TRATTORIA' },
  ...given,
});

/** Inserts a data key, whose wrapped form is random, and gives its id. */
export async function aDataKey(session: Session): Promise<string> {
  const id = randomUUID();
  await session.query(`INSERT INTO data_keys (data_key_id, key_encryption_key_id, wrapped) VALUES ($1, 'key-1', $2)`, [
    id,
    randomBytes(61),
  ]);
  return id;
}

/** What a column of sealed secrets looks like to the database: a format, the data key's id, and bytes. */
export const sealedUnder = (dataKeyId: string, rest: Buffer = randomBytes(40)): Buffer =>
  Buffer.concat([Buffer.of(1), Buffer.from(dataKeyId.replaceAll('-', ''), 'hex'), rest]);

/** The columns of a version whose `api_key` is sealed. */
export const sealed = (dataKeyId: string, fields: string[] = ['api_key']): ConfigRow => ({
  sealed_secrets: sealedUnder(dataKeyId),
  sealed_fields: fields,
  data_key_id: dataKeyId,
});

/** Inserts a version by bind parameters. JSON is sent as text, so that a scalar is one as well. */
export function insertConfig(session: Session, row: ConfigRow): Promise<unknown> {
  const columns = Object.keys(row);
  const values = columns.map((column) =>
    column === 'processor_config' && row[column] !== null ? JSON.stringify(row[column]) : row[column],
  );
  return session.query(
    `INSERT INTO restaurant_payment_configs (${columns.join(', ')})
     VALUES (${columns.map((_column, index) => `$${index + 1}`).join(', ')}) RETURNING *`,
    values,
  );
}

/** Puts a version there that a legacy service wrote: with its secrets among the settings. */
export async function insertLegacyConfig(session: Session, row: ConfigRow): Promise<void> {
  await session.query('ALTER TABLE restaurant_payment_configs DISABLE TRIGGER guard_new_restaurant_payment_configs');
  try {
    await insertConfig(session, row);
  } finally {
    await session.query('ALTER TABLE restaurant_payment_configs ENABLE TRIGGER guard_new_restaurant_payment_configs');
  }
}
