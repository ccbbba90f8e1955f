import { raw, sql } from '../../database/sql';
import { inClass } from '../../fence/fence-sql';
import { isSameClass, type ResidueClass } from '../../fence/residue';
import { type OBJECTS } from '../../schema/objects';
import { type ShardMap } from '../shard-map';
import { markCleanUp } from './clean-up-mark';
import { SplitRefusedError } from './errors';
import { type End, type SplitSession } from './split-session';
import { assertWhole, type Standing } from './standing';

/** What an end may delete of a table. */
interface CleanUp {
  readonly table: (typeof OBJECTS.tables)[number];
  /** Which rows of the restaurants that are not its own; default: all. */
  readonly where?: string;
  /** By which the other end is asked whether it has the rows; without, it may have deleted them in the meantime. */
  readonly key?: readonly string[];
  /** Which of the deleted rows it must have; default: all. */
  readonly mustHave?: string;
  /** Column that is not smaller there. */
  readonly notSmaller?: string;
  /** In one statement, for the rows refer to one another. */
  readonly isWhole?: true;
}

/**
 * Requests last, by which it is seen that something is left. Events are never deleted. A message that is not processed has
 * come after the hand-over, by somebody's own: the relay of the end that has it delivers it.
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

/** Where rows are deleted, and of which restaurants; the other end has them. */
interface Place {
  readonly at: End;
  readonly restaurants: ResidueClass;
}

/** What moves, at the source; a clone has what stays as well. */
const placesOf = ({ moves, stays, isClone }: SplitSession): Place[] => [
  { at: 'source', restaurants: moves },
  ...(isClone ? [{ at: 'target', restaurants: stays } as const] : []),
];

/** How much of a table is looked through at once. */
const PAGES = 256;

/**
 * Deletes at the source what the target has, and at a clone what the source has, a part of a table in a transaction, and looks at the
 * other end before each commit: what is not there stays.
 *
 * @returns how many rows were deleted
 */
export async function cleanUp(session: SplitSession, standing: Standing, map: ShardMap): Promise<number> {
  assertWhole('clean-up', standing);
  assertSwitched(session, standing, map);
  await markCleanUp(session);
  let deleted = 0;
  for (const place of placesOf(session)) deleted += await cleanUpAt(session, place);
  return deleted;
}

async function cleanUpAt(session: SplitSession, place: Place): Promise<number> {
  let deleted = 0;
  for (const one of CLEAN_UPS) {
    const pages = session.isDryRun || one.isWhole ? 1 : await pagesOf(session, place.at, one.table);
    for (let page = 0; page < pages; page += PAGES) {
      deleted += await deletePages(session, place, one, page);
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

async function pagesOf(session: SplitSession, at: End, table: string): Promise<number> {
  const [size] = await session.read<{ pages: number }>(
    at,
    sql`SELECT (pg_relation_size(${table}::regclass) / current_setting('block_size')::int)::float8 AS pages`,
  );
  return size!.pages;
}

const deleting = (
  { table, where, mustHave = 'true', key = [], notSmaller, isWhole }: CleanUp,
  restaurants: string,
  page: number,
) => {
  const columns = [...key, ...(notSmaller ? [notSmaller] : [])];
  return `DELETE FROM ${table}
WHERE ${restaurants}${where ? ` AND ${where}` : ''}${isWhole ? '' : ` AND ctid >= '(${page},0)' AND ctid < '(${page + PAGES},0)'`}
RETURNING jsonb_build_object(${columns.map((column) => `'${column}', ${column}`).join(', ')}) AS row, ${mustHave} AS "mustHave"`;
};

const missing = ({ table, key = [], notSmaller }: CleanUp, rows: unknown[]) => {
  const same = key.map((column) => `here.${column} = gone.${column}`);
  const conditions = [...same, ...(notSmaller ? [`here.${notSmaller} >= gone.${notSmaller}`] : [])];
  return sql`
  SELECT count(*)::int AS missing FROM jsonb_populate_recordset(NULL::${raw(table)}, ${JSON.stringify(rows)}::jsonb) AS gone
  WHERE NOT EXISTS (SELECT FROM ${raw(table)} AS here WHERE ${raw(conditions.join(' AND '))})`;
};

async function deletePages(
  session: SplitSession,
  { at, restaurants }: Place,
  one: CleanUp,
  page: number,
): Promise<number> {
  const statement = deleting(one, inClass(restaurants), page);
  const other = at === 'source' ? 'target' : 'source';
  return await session.deleteIf<{ row: unknown; mustHave: boolean }>(at, statement, async (deleted) => {
    const kept = deleted.filter(({ mustHave }) => mustHave).map(({ row }) => row);
    if (!one.key || kept.length === 0) return;
    const [found] = await session.read<{ missing: number }>(other, missing(one, kept));
    if (found!.missing === 0) return;
    throw new SplitRefusedError('clean-up', [
      `The ${other} lacks ${found!.missing} rows of ${one.table}: they stay at the ${at}. Find out why before anything else.`,
    ]);
  });
}

const LEFT = CLEAN_UPS.map(({ table, where }) => ({ table, where: where ? ` AND ${where}` : '' }));

/** Whether an end has rows that the cleaning up deletes. Reads tables to their end where it has none. */
export async function isLeft(session: SplitSession): Promise<boolean> {
  for (const { at, restaurants } of placesOf(session)) {
    const each = LEFT.map(({ table, where }) => `EXISTS (SELECT FROM ${table} WHERE ${inClass(restaurants)}${where})`);
    const [found] = await session.scan<{ left: boolean }>(at, sql`SELECT ${raw(each.join(' OR '))} AS left`);
    if (found!.left) return true;
  }
  return false;
}
