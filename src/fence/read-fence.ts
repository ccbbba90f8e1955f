import { PRINTED_CHECK } from '../database/printed-check';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { ConfigurationError, WrongShardError } from '../errors';
import { classOfFence, FENCED_TABLES, type FencedTable } from './fence-sql';
import { RECEIVES } from './receives';
import { classInWords, isSameClass, type ResidueClass } from './residue';

/**
 * What a table's fence is: a class; `receives` where it takes what a split sends, and nobody's writes; `altered` where it is not as we
 * set it; undefined where there is none.
 */
export type FenceOfTable = ResidueClass | 'receives' | 'altered' | undefined;

/**
 * By the name of the constraint, as PostgreSQL prints it. Any role may read it. One statement that looks at nothing but the rows
 * of its snapshot: while another session sets the fences, it sees those of before or those of afterwards.
 */
const FENCES = sql`
  SELECT relname AS table, conname AS name, ${raw(PRINTED_CHECK)} AS definition
  FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
  WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${FENCED_TABLES})
    AND conname IN (relname || '_shard', ${RECEIVES})`;

/** The fence of each table. */
export async function readFences(session: Queryable): Promise<ReadonlyMap<FencedTable, FenceOfTable>> {
  const rows = await query<{ table: string; name: string; definition: string }>(session, FENCES);
  return new Map(FENCED_TABLES.map((table) => [table, fenceIn(rows.filter((row) => row.table === table))]));
}

function fenceIn(checks: readonly { name: string; definition: string }[]): FenceOfTable {
  if (checks.some(({ name }) => name === RECEIVES)) return 'receives';
  const [fence] = checks;
  return fence && (classOfFence(fence.definition) ?? 'altered');
}

/** The fence that all tables have; `altered` where they differ as well. */
export function agreedFence(fences: Iterable<FenceOfTable>): FenceOfTable {
  const [first, ...others] = fences;
  const agree = others.every((one) => one === first || (isAClass(one) && isAClass(first) && isSameClass(one, first)));
  return agree ? first : 'altered';
}

/**
 * Which restaurants the database takes. Reads only; any role may do it, also at a replica.
 *
 * ```ts
 * const shard = await readFence(dataSource);
 * if (shard) console.log(`This database has class ${shard.remainder} of ${shard.modulus}.`);
 * ```
 *
 * @returns undefined where there is no fence: the database takes every restaurant
 * @throws ConfigurationError where the fences of its tables differ, or one was altered: `setFence` makes them whole
 * @throws WrongShardError a split sends it restaurants, which it takes over later
 */
export async function readFence(session: Queryable): Promise<ResidueClass | undefined> {
  const fences = await readFences(session);
  const fence = agreedFence(fences.values());
  if (fence === 'receives') throw new WrongShardError(RECEIVING);
  if (fence !== 'altered') return fence;
  const each = [...fences].map(([table, one]) => `${table} ${inWords(one)}`).join(', ');
  throw new ConfigurationError(
    `The fences of this database do not agree: ${each}. Set them again: npx payment-events-db shard fence.`,
  );
}

const RECEIVING =
  'A split sends restaurants to this database, which has not taken over yet: it takes no writes. Nothing was written: reload the map ' +
  'of shards, which must not have it before the cut-over.';

export const isAClass = (fence: FenceOfTable): fence is ResidueClass => typeof fence === 'object';

const inWords = (fence: FenceOfTable) =>
  isAClass(fence) ? `has ${classInWords(fence)}` : fence ? IN_WORDS[fence] : 'has none';
const IN_WORDS = { altered: 'has one that was altered', receives: 'has that of the target of a split' };
