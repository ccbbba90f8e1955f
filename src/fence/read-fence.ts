import { PRINTED_CHECK } from '../database/printed-check';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { ConfigurationError } from '../errors';
import { classOfFence, FENCED_TABLES, type FencedTable, fenceOf } from './fence-sql';
import { classInWords, isSameClass, type ResidueClass } from './residue';

/** What a table's fence is: a class; `altered` where it is not as we set it; undefined where there is none. */
export type FenceOfTable = ResidueClass | 'altered' | undefined;

/**
 * By the name of the constraint, as PostgreSQL prints it. Any role may read it. One statement that looks at nothing but the rows
 * of its snapshot: while another session sets the fences, it sees those of before or those of afterwards.
 */
const FENCES = sql`
  SELECT conname AS name, ${raw(PRINTED_CHECK)} AS definition
  FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
  WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${FENCED_TABLES})
    AND conname = relname || '_shard'`;

/** The fence of each table. */
export async function readFences(session: Queryable): Promise<ReadonlyMap<FencedTable, FenceOfTable>> {
  const rows = await query<{ name: string; definition: string }>(session, FENCES);
  return new Map(
    FENCED_TABLES.map((table) => {
      const found = rows.find(({ name }) => name === fenceOf(table));
      return [table, found && (classOfFence(found.definition) ?? 'altered')];
    }),
  );
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
 */
export async function readFence(session: Queryable): Promise<ResidueClass | undefined> {
  const fences = await readFences(session);
  const fence = agreedFence(fences.values());
  if (fence !== 'altered') return fence;
  const each = [...fences].map(([table, one]) => `${table} ${inWords(one)}`).join(', ');
  throw new ConfigurationError(
    `The fences of this database do not agree: ${each}. Set them again: npx payment-events-db shard fence.`,
  );
}

export const isAClass = (fence: FenceOfTable): fence is ResidueClass => typeof fence === 'object';

const inWords = (fence: FenceOfTable) =>
  fence === undefined ? 'has none' : fence === 'altered' ? 'has one that was altered' : `has ${classInWords(fence)}`;
