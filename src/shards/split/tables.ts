import { inClass } from '../../fence/fence-sql';
import { type ResidueClass } from '../../fence/residue';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { type OBJECTS } from '../../schema/objects';

type Table = (typeof OBJECTS.tables)[number];

/** How the rows of a table get to the other database. */
export interface Move {
  /**
   * Which changes are published. Events are inserted alone. The rows of the outbox that the source deletes are those that it hands
   * over: the target keeps them.
   */
  readonly publish: 'insert' | 'insert, update' | 'insert, update, delete';
  /** `class`: the rows of the restaurants that move. `all`: every row, since it belongs to no restaurant. */
  readonly rows: 'class' | 'all';
  /**
   * The key lacks `restaurant_id`, by which rows are filtered: without the whole row in the WAL, PostgreSQL refuses each UPDATE
   * and DELETE from the moment it is published.
   */
  readonly wholeRowInWal?: true;
}

/** Every table, and how it moves. */
export const MOVES: Readonly<Record<Table, Move>> = {
  payment_events: { publish: 'insert', rows: 'class' },
  auth_request_state: { publish: 'insert, update, delete', rows: 'class', wholeRowInWal: true },
  outbox: { publish: 'insert, update', rows: 'class', wholeRowInWal: true },
  auth_idempotency_keys: { publish: 'insert, update, delete', rows: 'class' },
  restaurant_payment_configs: { publish: 'insert, update, delete', rows: 'class' },
  auth_processing_locks: { publish: 'insert, update, delete', rows: 'class', wholeRowInWal: true },
  auth_holds: { publish: 'insert, update, delete', rows: 'class', wholeRowInWal: true },
  processors: { publish: 'insert, update, delete', rows: 'all' },
  data_keys: { publish: 'insert, update, delete', rows: 'all' },
};

export const TABLES = Object.keys(MOVES) as Table[];

/** A publication has one list of changes. The first is the mark of a split, at both ends: at the target it has no tables. */
const PUBLICATIONS = {
  [SPLIT_MARK]: 'insert, update, delete',
  [`${SPLIT_MARK}_events`]: 'insert',
  [`${SPLIT_MARK}_outbox`]: 'insert, update',
} as const satisfies Record<string, Move['publish']>;

export const PUBLICATION_NAMES = Object.keys(PUBLICATIONS);

const WHOLE_ROW_TABLES = TABLES.filter((table) => MOVES[table].wholeRowInWal);

/** Of the tables that need it, those that have not had whole rows in the WAL before, for somebody else who follows them. */
const widenedBut = (already: readonly string[]) => WHOLE_ROW_TABLES.filter((table) => !already.includes(table));

/** Before an UPDATE is published, in one transaction with it. */
export const wholeRowsInWal = (already: readonly string[]): string[] =>
  widenedBut(already).map((table) => `ALTER TABLE ${table} REPLICA IDENTITY FULL`);

/** What was before: prepare has found no other identity than these two. */
export const keysInWal = (already: readonly string[]): string[] =>
  widenedBut(already).map((table) => `ALTER TABLE ${table} REPLICA IDENTITY DEFAULT`);

/** The hash function is immutable and built in: row filters take no other. */
export const createPublications = (moves: ResidueClass): string[] =>
  Object.entries(PUBLICATIONS).map(([name, publish]) => {
    const tables = TABLES.filter((table) => MOVES[table].publish === publish).map((table) =>
      MOVES[table].rows === 'all' ? table : `${table} WHERE (${inClass(moves)})`,
    );
    return `CREATE PUBLICATION ${name} FOR TABLE\n  ${tables.join(',\n  ')}\nWITH (publish = '${publish}')`;
  });

/** The mark last: as long as it is there, a split is not over. */
export const DROP_PUBLICATIONS = PUBLICATION_NAMES.toReversed().map((name) => `DROP PUBLICATION IF EXISTS ${name}`);

/** Never back. No row that was copied is in the target's own range, whose number no database had before. */
export const sequencesFrom = (first: bigint) =>
  ['payment_events_id_seq', 'outbox_id_seq', 'auth_processing_fencing_tokens'].map(
    (sequence) => `SELECT setval('${sequence}', ${first}) FROM ${sequence} WHERE ${first} >= last_value`,
  );
