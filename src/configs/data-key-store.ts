import { bytea, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { repeatOnce } from '../database/repeat';
import { type Session } from '../database/session';
import { type DataKeyStore } from './data-keys';
import { type WrappedKey } from './key-provider';

/** Its id was drawn for this row alone, so that a conflict is with an earlier run of itself. */
const INSERT_DATA_KEY = operation({
  name: 'insert_data_key',
  input: { data_key_id: uuid, key_encryption_key_id: text, wrapped: bytea },
  sql: `
    INSERT INTO data_keys (data_key_id, key_encryption_key_id, wrapped)
    SELECT data_key_id, key_encryption_key_id, wrapped FROM input
    ON CONFLICT DO NOTHING`,
});

const READ_DATA_KEY = operation({
  name: 'read_data_key',
  input: { data_key_id: uuid },
  output: rowsOf<{ key_encryption_key_id: string; wrapped: Buffer }>(),
  sql: `SELECT key_encryption_key_id, wrapped FROM data_keys JOIN input USING (data_key_id)`,
});

/** The table data_keys. */
export const dataKeyStore = (session: Session): DataKeyStore => ({
  async insert(id: string, { keyId, wrapped }: WrappedKey): Promise<void> {
    const row = { data_key_id: id, key_encryption_key_id: keyId, wrapped };
    await repeatOnce(() => session.write(INSERT_DATA_KEY, row));
  },
  async read(id: string): Promise<WrappedKey | undefined> {
    const row = await session.row(READ_DATA_KEY, { data_key_id: id });
    return row && { keyId: row.key_encryption_key_id, wrapped: row.wrapped };
  },
});
