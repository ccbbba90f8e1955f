import { type DataSource } from 'typeorm';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { translateError } from '../database/translate-error';
import { ConfigurationError } from '../errors';
import { whileLocked } from '../migrations/helpers/locking';

/** How many numbers the sequences of a database have to themselves, as a power of two. */
const BITS = 40n;

/** The last database whose numbers are safe integers of JavaScript. */
export const LARGEST_NUMBER = 8_191;

export const isNumber = (number: number): boolean =>
  Number.isInteger(number) && number >= 0 && number <= LARGEST_NUMBER;

/** The tables whose rows are numbered, and move to other databases. Those of the history stay. */
export const NUMBERED_TABLES = ['outbox', 'payment_events'] as const;

/** The numbers that are a database's own: the first, and the first of the next database. */
export const rangeOf = (number: number): readonly [first: bigint, end: bigint] => [
  BigInt(number) << BITS,
  BigInt(number + 1) << BITS,
];

/** Which database's range a value of a sequence is in. */
export const numberOf = (value: bigint): number => Number(value >> BITS);

interface Position {
  readonly table: string;
  readonly last: bigint;
  /** The greatest number of a row in the range that was asked for. */
  readonly used: bigint;
}

/**
 * Has the sequences of a database count from number × 2^40, so that no two databases number a row alike and rows can move to
 * any of them. Only ever forward: what was given out is never given out again. Needs the owner of the tables; stops their
 * writers for a moment, and for none where it is done already.
 *
 * @param number 0 to 8,191; no other database has it, ever
 * @returns whether something was changed
 * @throws ConfigurationError there is no such number, or the database has given out greater ones. Nothing was changed
 * @throws DatabaseTimeoutError writers kept a table locked for `migrationLockBudgetMs`
 */
export async function setSequenceRange(dataSource: DataSource, number: number): Promise<boolean> {
  if (!isNumber(number)) {
    throw new ConfigurationError(`The number of a database must be an integer from 0 to ${LARGEST_NUMBER}.`);
  }
  const [first, end] = rangeOf(number);
  const queryRunner = dataSource.createQueryRunner();
  try {
    const positions = await Promise.all(NUMBERED_TABLES.map((table) => positionOf(queryRunner, table, number)));
    const beyond = positions.find(({ last }) => last >= end);
    if (beyond) {
      throw new ConfigurationError(
        `The numbers of this database are those of database ${numberOf(beyond.last)} already: give it that number in the ` +
          `map, or a greater one that no other database has had. Table ${beyond.table}.`,
      );
    }
    const behind = positions.filter(({ last, used }) => last < first || last < used);
    if (behind.length === 0) return false;
    // Whatever draws a number has its table locked against this, so that nothing is drawn between reading and setting. One
    // table at a time: a writer, who locks both, could never be waited for while it waits.
    for (const { table } of behind) {
      await whileLocked(queryRunner, `LOCK TABLE ${table} IN SHARE ROW EXCLUSIVE MODE`, forward(table, number));
    }
    return true;
  } catch (error) {
    throw translateError(error);
  } finally {
    await queryRunner.release();
  }
}

/** The number whose range the sequences of a database are in, by table. What the role may not read is left out. */
export async function readSequenceNumbers(session: Queryable): Promise<ReadonlyMap<string, number>> {
  const numbers = new Map<string, number>();
  for (const table of NUMBERED_TABLES) {
    const sequence = `${table}_id_seq`;
    const [role] = await query<{ may: boolean }>(
      session,
      sql`SELECT has_sequence_privilege(${sequence}, 'SELECT') AS may`,
    );
    if (!role!.may) continue;
    const [found] = await query<{ last: string }>(session, sql`SELECT last_value::text AS last FROM ${raw(sequence)}`);
    numbers.set(table, numberOf(BigInt(found!.last)));
  }
  return numbers;
}

const usedOf = (table: string, number: number): string => {
  const [first, end] = rangeOf(number);
  return `coalesce((SELECT max(id) FROM ${table} WHERE id >= ${first} AND id < ${end}), 0)`;
};

async function positionOf(session: Queryable, table: string, number: number): Promise<Position> {
  const [found] = await query<{ last: string; used: string }>(
    session,
    sql`SELECT last_value::text AS last, ${raw(usedOf(table, number))}::text AS used FROM ${raw(`${table}_id_seq`)}`,
  );
  return { table, last: BigInt(found!.last), used: BigInt(found!.used) };
}

const forward = (table: string, number: number): string => `
  SELECT setval('${table}_id_seq', greatest(last_value, ${rangeOf(number)[0]}, ${usedOf(table, number)}))
  FROM ${table}_id_seq`;
