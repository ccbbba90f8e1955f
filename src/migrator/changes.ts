import { type MigrationInterface } from 'typeorm';
import { TIMES } from '../migrations/helpers/legacy-times';
import { nameOf } from './history';
import { plannedSql } from './planned-sql';

/**
 * Something that a migration does to an object of ours on which objects of others may hang:
 *
 * - `retype` gives a column another type, if it does not have that yet;
 * - `drop` takes a column away;
 * - `extend` adds columns to a table;
 * - `discard` drops a table;
 * - `rekey` replaces a primary key, if it has so many columns yet;
 * - `forget` drops a trigger's function;
 * - `build` makes an index of that name on a table.
 */
export type Change =
  | { readonly kind: 'retype'; readonly on: string; readonly name: string; readonly type: string }
  | { readonly kind: 'drop'; readonly on: string; readonly name: string }
  | { readonly kind: 'extend'; readonly on: string }
  | { readonly kind: 'discard'; readonly on: string }
  | { readonly kind: 'rekey'; readonly on: string; readonly name: string; readonly columns: number }
  | { readonly kind: 'forget'; readonly on: string; readonly name: string }
  | { readonly kind: 'build'; readonly on: string; readonly name: string };

const columnsOf = (tables: Map<string, string[]>) =>
  [...tables].flatMap(([on, columns]) => columns.map((name) => ({ on, name })));

const retype = (type: string) => columnsOf(TIMES).map((column): Change => ({ kind: 'retype', ...column, type }));
const forget = (...functions: [on: string, name: string][]) =>
  functions.map(([on, name]): Change => ({ kind: 'forget', on, name }));
const rekey = (columns: number): Change => ({
  kind: 'rekey',
  on: 'restaurant_payment_configs',
  name: 'restaurant_payment_configs_pkey',
  columns,
});

/** By the name of the migration without its time: what cannot be read off its SQL. */
const CHANGES: Record<string, { readonly up?: readonly Change[]; readonly down?: readonly Change[] }> = {
  ContractTimestamps: { up: retype('timestamptz'), down: retype('timestamp') },
  ContractKeysAndIndexes: { up: [rekey(1)], down: [rekey(2)] },
  GuardAuthRequestState: { down: forget(['auth_request_state', 'guard_auth_request_state']) },
  GuardConfigVersions: { down: forget(['restaurant_payment_configs', 'guard_restaurant_payment_configs']) },
  AddConfigSecrets: { down: forget(['data_keys', 'guard_data_keys']) },
  GuardPaymentEvents: {
    down: forget(['payment_events', 'refuse_payment_events_change'], ['payment_events', 'refuse_payment_events_gap']),
  },
};

/** What a migration does in one direction. Columns and tables that come or go, and indexes, are read off its SQL. */
export async function changesOf(migration: MigrationInterface, direction: 'up' | 'down'): Promise<Change[]> {
  const sql = await plannedSql(migration);
  const tables = sql[direction].flatMap((text) => [...text.matchAll(ALTER_TABLE)]);
  const columns = tables.flatMap(([, on, actions]): Change[] => [
    ...(actions!.includes('ADD COLUMN') ? [{ kind: 'extend', on: on! } as const] : []),
    ...[...actions!.matchAll(DROP_COLUMN)].map(([, name]) => ({ kind: 'drop', on: on!, name: name! }) as const),
  ]);
  const indexes = [...sql.up, ...sql.down].flatMap((text) =>
    [...text.matchAll(INDEX)].map(([, name, on]): Change => ({ kind: 'build', name: name!, on: on! })),
  );
  const tablesThatGo = sql[direction].flatMap((text) =>
    [...text.matchAll(DROP_TABLE)].map(([, on]): Change => ({ kind: 'discard', on: on! })),
  );
  const declared = CHANGES[nameOf(migration).slice(0, -13)]?.[direction] ?? [];
  return [...declared, ...columns, ...tablesThatGo, ...indexes];
}

const ALTER_TABLE = /ALTER TABLE (\w+)([^;]*)/g;
const DROP_TABLE = /DROP TABLE IF EXISTS (\w+)/g;
const DROP_COLUMN = /DROP COLUMN IF EXISTS (\w+)/g;

/** The names of the indexes that these migrations build. */
export async function indexesOf(migrations: readonly MigrationInterface[]): Promise<Set<string>> {
  const changes = (await Promise.all(migrations.map((migration) => changesOf(migration, 'up')))).flat();
  return new Set(changes.flatMap((change) => (change.kind === 'build' ? [change.name] : [])));
}

const INDEX = /INDEX CONCURRENTLY (?!IF EXISTS)(\w+)\s+ON (\w+)/g;
