/** Settings of a role or a database that would change the text in which the catalog describes a schema. */
const OF_TEXT = {
  IntervalStyle: 'postgres',
  DateStyle: 'ISO, MDY',
  quote_all_identifiers: 'off',
  bytea_output: 'hex',
  extra_float_digits: '1',
};

/** Those that would change what SQL of a migration means, or end what takes long. */
const OF_MIGRATIONS = {
  ...OF_TEXT,
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  transform_null_equals: 'off',
  check_function_bodies: 'on',
  default_transaction_isolation: 'read committed',
  transaction_timeout: '0',
  idle_session_timeout: '0',
};

/** Not each server knows all of them: transaction_timeout came with 17. */
const among = (settings: Record<string, string>) =>
  `pg_settings JOIN (VALUES ${Object.entries(settings)
    .map(([name, value]) => `('${name}', '${value}')`)
    .join(', ')}) AS pinned (name, value) USING (name)`;

/** For a session that migrates. TimeZone is left alone: it tells in which zone old rows were written. */
export const PIN_SETTINGS = `SELECT set_config(name, value, false) FROM ${among(OF_MIGRATIONS)}`;

/** Gives the session back as it was. */
export const UNPIN_SETTINGS = `SELECT set_config(name, reset_val, false) FROM ${among(OF_MIGRATIONS)}`;

/** One row, for a statement that reads the catalog: pins until the transaction ends. */
export const PIN_TEXT = `SELECT count(set_config(name, value, true)) FROM ${among(OF_TEXT)}`;
