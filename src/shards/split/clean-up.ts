import { raw, sql } from '../../database/sql';
import { inClass } from '../../fence/fence-sql';
import { isSameClass } from '../../fence/residue';
import { type OBJECTS } from '../../schema/objects';
import { type ShardMap } from '../shard-map';
import { markCleanUp } from './clean-up-mark';
import { SplitRefusedError } from './errors';
import { type SplitSession } from './split-session';
import { type Standing } from './standing';

/** What the source may delete of a table. */
interface CleanUp {
  readonly table: (typeof OBJECTS.tables)[number];
  /** Which rows of the restaurants that have moved; default: all. */
  readonly where?: string;
  /** By which the target is asked whether it has the rows; without, it may have deleted them in the meantime. */
  readonly key?: readonly string[];
  /** Which of the deleted rows it must have; default: all. */
  readonly mustHave?: string;
  /** Column that is not smaller at the target. */
  readonly notSmaller?: string;
  /** In one statement, for the rows refer to one another. */
  readonly isWhole?: true;
}

/**
 * Requests last, by which it is seen that something is left. Events are never deleted. A message that is not processed has
 * come after the hand-over, by somebody's own: the relay of the source delivers it.
 */
const CLEAN_UPS: readonly CleanUp[] = [
  { table: 'auth_processing_locks' },
  { table: 'outbox', where: 'processed_at IS NOT NULL' },
  {
    table: 'auth_idempotency_keys',
    key: ['idempotency_key', 'restaurant_id'],
    mustHave: 'expires_at > clock_timestamp()',
  },
  { table: 'auth_holds', key: ['auth_request_id', 'processor_name', 'processor_auth_id'] },
  { table: 'restaurant_payment_configs', key: ['restaurant_id', 'config_version'], isWhole: true },
  { table: 'auth_request_state', key: ['auth_request_id'], notSmaller: 'last_event_sequence' },
];

/** How much of a table is looked through at once. */
const PAGES = 256;

/**
 * Deletes at the source what the target has, a part of a table in a transaction, and looks at the target before each commit:
 * what is not there stays.
 *
 * @returns how many rows were deleted
 */
export async function cleanUp(session: SplitSession, standing: Standing, map: ShardMap): Promise<number> {
  assertSwitched(session, standing, map);
  await markCleanUp(session);
  let deleted = 0;
  for (const one of CLEAN_UPS) {
    const pages = session.isDryRun || one.isWhole ? 1 : await pagesOf(session, one.table);
    for (let page = 0; page < pages; page += PAGES) {
      deleted += await deletePages(session, one, page);
      if (page % (PAGES * 100) === 0 && page > 0) session.say(`${one.table}: ${page} of ${pages} pages …`);
    }
  }
  return deleted;
}

function assertSwitched(
  { moves, stays }: SplitSession,
  { isHandedOver, source }: Standing,
  { shards }: ShardMap,
): void {
  const problems: string[] = [];
  if (!isHandedOver || source.mark || source.hasSlot)
    problems.push('The split is not at its end: cut-over comes first.');
  const ofClass = (shard: typeof moves) => shards.some((entry) => isSameClass(entry, shard));
  if (!ofClass(moves) || !ofClass(stays)) {
    problems.push('The map is the old one: give it to all services first, with the target in it.');
  }
  if (problems.length > 0) throw new SplitRefusedError('clean-up', problems);
}

async function pagesOf(session: SplitSession, table: string): Promise<number> {
  const [size] = await session.read<{ pages: number }>(
    'source',
    sql`SELECT (pg_relation_size(${table}::regclass) / current_setting('block_size')::int)::float8 AS pages`,
  );
  return size!.pages;
}

const deleting = (
  { table, where, mustHave = 'true', key = [], notSmaller, isWhole }: CleanUp,
  moves: string,
  page: number,
) => {
  const columns = [...key, ...(notSmaller ? [notSmaller] : [])];
  return `DELETE FROM ${table}
WHERE ${moves}${where ? ` AND ${where}` : ''}${isWhole ? '' : ` AND ctid >= '(${page},0)' AND ctid < '(${page + PAGES},0)'`}
RETURNING jsonb_build_object(${columns.map((column) => `'${column}', ${column}`).join(', ')}) AS row, ${mustHave} AS "mustHave"`;
};

const missing = ({ table, key = [], notSmaller }: CleanUp, rows: unknown[]) => {
  const same = key.map((column) => `here.${column} = gone.${column}`);
  const conditions = [...same, ...(notSmaller ? [`here.${notSmaller} >= gone.${notSmaller}`] : [])];
  return sql`
  SELECT count(*)::int AS missing FROM jsonb_populate_recordset(NULL::${raw(table)}, ${JSON.stringify(rows)}::jsonb) AS gone
  WHERE NOT EXISTS (SELECT FROM ${raw(table)} AS here WHERE ${raw(conditions.join(' AND '))})`;
};

async function deletePages(session: SplitSession, one: CleanUp, page: number): Promise<number> {
  const statement = deleting(one, inClass(session.moves), page);
  return await session.deleteIf<{ row: unknown; mustHave: boolean }>('source', statement, async (deleted) => {
    const kept = deleted.filter(({ mustHave }) => mustHave).map(({ row }) => row);
    if (!one.key || kept.length === 0) return;
    const [found] = await session.read<{ missing: number }>('target', missing(one, kept));
    if (found!.missing === 0) return;
    throw new SplitRefusedError('clean-up', [
      `The target lacks ${found!.missing} rows of ${one.table}: they stay at the source. Find out why before anything else.`,
    ]);
  });
}

const LEFT = CLEAN_UPS.map(({ table, where }) => ({ table, where: where ? ` AND ${where}` : '' }));

/** Whether the source has rows that the cleaning up deletes. Reads tables to their end where it has none. */
export async function isLeft(session: SplitSession): Promise<boolean> {
  const moves = inClass(session.moves);
  const each = LEFT.map(({ table, where }) => `EXISTS (SELECT FROM ${table} WHERE ${moves}${where})`);
  const [found] = await session.scan<{ left: boolean }>('source', sql`SELECT ${raw(each.join(' OR '))} AS left`);
  return found!.left;
}
