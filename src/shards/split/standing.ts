import { raw, sql } from '../../database/sql';
import { classInWords, contains, isSameClass, type ResidueClass } from '../../fence/residue';
import { agreedFence, type FenceOfTable, isAClass, readFences } from '../../fence/read-fence';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { SplitRefusedError } from './errors';
import { type End, type SplitSession } from './split-session';
import { TABLES } from './tables';

/** What the mark at an end says, as the comment of its publication. */
export interface Mark {
  /** Of the split, the same at both ends: random, so that no other target has it. */
  readonly id: string;
  readonly moves: ResidueClass;
  /** Of the target in the map: each step has the same. */
  readonly number?: number;
  /** At the source: it had a fence before. */
  readonly fenced?: boolean;
  /** At the source: the last event before it was published, by its id. */
  readonly since?: string;
  /** At the source: tables that had REPLICA IDENTITY FULL before, and keep it. */
  readonly wholeRows?: readonly string[];
  /** At the target: of its WAL when it began to follow, as in the names of WAL files. A failover begins another. */
  readonly timeline?: string;
}

/** What the catalogs of both databases say of a split. */
export interface Standing {
  readonly source: {
    readonly mark: Mark | undefined;
    /** Undefined where there is none: `altered` where it is not one of ours. */
    readonly fence: FenceOfTable;
    readonly hasSlot: boolean;
    readonly isSlotLost: boolean;
    /** How much WAL the target has not confirmed; null without a slot. */
    readonly lagBytes: number | null;
  };
  readonly target: {
    readonly mark: Mark | undefined;
    readonly fence: FenceOfTable;
    readonly hasSubscription: boolean;
    readonly isEnabled: boolean;
    /** Tables whose first copy is there and that follow the source by now, of all that are replicated. */
    readonly ready: number;
    readonly of: number;
    /** How often a first copy, or a change, could not be written. */
    readonly failures: number;
    readonly timeline: string;
  };
  /** The target has what moves, alone: it takes writes once the map says so. */
  readonly isHandedOver: boolean;
  /** The target has taken over, and the source does not know: it has lost the fence of the hand-over. */
  readonly isForgotten: boolean;
  /** Why the split cannot go on, and what is to be done. */
  readonly broken: string | undefined;
}

/**
 * Of this split alone, by the id in the mark of the source: what confirms it is the target, and never one that was given up and
 * is back. Of one database, since slots belong to a server. NULL without a mark.
 */
export const SLOT = `(
  SELECT '${SPLIT_MARK}_' || pg_database.oid || '_' ||
    substring(obj_description(pg_publication.oid, 'pg_publication') FROM '"id":"([0-9a-f]+)"')
  FROM pg_publication, pg_database WHERE pubname = '${SPLIT_MARK}' AND datname = current_database())`;

const SOURCE = sql`
  SELECT obj_description(publication.oid, 'pg_publication') AS mark, slot_name IS NOT NULL AS "hasSlot",
    coalesce(wal_status = 'lost', false) AS "isSlotLost", (pg_current_wal_lsn() - confirmed_flush_lsn)::float8 AS "lagBytes"
  FROM (SELECT) AS one
  LEFT JOIN pg_publication AS publication ON pubname = ${SPLIT_MARK}
  LEFT JOIN pg_replication_slots ON slot_name = ${raw(SLOT)}`;

const TARGET = sql`
  SELECT obj_description(publication.oid, 'pg_publication') AS mark, subscription.oid IS NOT NULL AS "hasSubscription",
    coalesce(subenabled, false) AS "isEnabled",
    (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = subscription.oid AND srsubstate = 'r')::int AS ready,
    ${TABLES.length}::int AS of,
    coalesce((SELECT apply_error_count + sync_error_count FROM pg_stat_subscription_stats WHERE subid = subscription.oid), 0)::int
      AS failures,
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline
  FROM (SELECT) AS one
  LEFT JOIN pg_publication AS publication ON pubname = ${SPLIT_MARK}
  LEFT JOIN (
    SELECT pg_subscription.oid, subname, subenabled FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
    WHERE datname = current_database()
  ) AS subscription ON subname = ${SPLIT_MARK}`;

/**
 * Reads how far the split is.
 *
 * @throws SplitRefusedError restaurants of another class are on the move, or to another target, or with another number
 */
export async function readStanding(session: SplitSession): Promise<Standing> {
  type Row<Facts> = Omit<Facts, 'mark' | 'fence'> & { mark: string | null };
  const [atSource] = await session.read<Row<Standing['source']>>('source', SOURCE);
  const [atTarget] = await session.read<Row<Standing['target']>>('target', TARGET);
  const source = {
    ...atSource!,
    mark: readMark(session, 'source', atSource!.mark),
    fence: agreedFence((await readFences(session.at('source'))).values()),
  };
  const target = {
    ...atTarget!,
    mark: readMark(session, 'target', atTarget!.mark),
    fence: agreedFence((await readFences(session.at('target'))).values()),
  };
  assertOneSplit(source.mark, target.mark);
  const isHandedOver =
    !target.mark &&
    !target.hasSubscription &&
    isFence(source.fence, session.stays) &&
    isFence(target.fence, session.moves);
  const isForgotten =
    !target.mark &&
    !target.hasSubscription &&
    isFence(target.fence, session.moves) &&
    mayTake(source.fence, session.moves) &&
    (await countsForItself(session));
  const standing = { source, target, isHandedOver, isForgotten };
  return { ...standing, broken: isHandedOver ? undefined : whyBroken(session, standing) };
}

/** Whether a target without a mark has what was copied, and goes on counting by itself. */
async function countsForItself(session: SplitSession): Promise<boolean> {
  const [found] = await session.read<{ does: boolean }>(
    'target',
    sql`SELECT last_value >= ${String(session.first)}::bigint AND EXISTS (SELECT FROM payment_events) AS does
        FROM payment_events_id_seq`,
  );
  return found!.does;
}

/** Whether a database takes restaurants of a class, or may. A source that was split once more does not. */
const mayTake = (fence: FenceOfTable, shard: ResidueClass): boolean => !isAClass(fence) || contains(fence, shard);

export const isFence = (fence: FenceOfTable, shard: ResidueClass): boolean =>
  isAClass(fence) && isSameClass(fence, shard);

function readMark({ moves, ends }: SplitSession, end: End, comment: string | null): Mark | undefined {
  if (comment === null) return undefined;
  let mark: Mark | undefined;
  try {
    mark = JSON.parse(comment) as Mark;
  } catch {
    // Not written by us.
  }
  if (mark?.moves && isSameClass(mark.moves, moves)) {
    const { number = ends.number } = mark;
    if (number === ends.number) return mark;
    throw new SplitRefusedError('status', [
      `This split was begun with number ${number}: go on with --number ${number}.`,
    ]);
  }
  throw new SplitRefusedError('status', [
    `At the ${end} there is a publication ${SPLIT_MARK} of another split` +
      `${mark?.moves ? `, of class ${classInWords(mark.moves)}` : ''}. Finish or undo that one.`,
  ]);
}

function assertOneSplit(source: Mark | undefined, target: Mark | undefined): void {
  if (!source || !target || source.id === target.id) return;
  throw new SplitRefusedError('status', [
    'The source moves them to another target: this one is prepared for a split of its own. Finish or undo that one; where its target ' +
      'is lost, with an empty database that is not prepared in its place.',
  ]);
}

const AGAIN = 'Undo it, and start again with a new, empty target: npx payment-events-db shard split undo.';

function whyBroken(
  { stays }: SplitSession,
  { source, target, isForgotten }: Omit<Standing, 'broken'>,
): string | undefined {
  if (isForgotten) {
    return (
      'The target has taken over, and the source has no fence of that, as after a failover to a replica that lacked it: the source ' +
      'takes writes of what has moved. Where services have the new map, set the fence at once: npx payment-events-db shard fence ' +
      '--shard <source>, with that map; then cut over again. Where none has, undo it, and start again with a new, empty target.'
    );
  }
  if (source.mark && !target.mark) return `The source moves them to another target, or this one was given up. ${AGAIN}`;
  if (target.fence === 'altered' && isFence(source.fence, stays)) {
    return (
      'This target was given up, and the source refuses what was to move, as after a failover in the undoing: unless another ' +
      'target has taken that over, undo once more.'
    );
  }
  if (target.hasSubscription && !source.hasSlot) {
    return `The replication slot is gone from the source, as after a failover: changes may be missing at the target. ${AGAIN}`;
  }
  if (source.isSlotLost) {
    return `The source has thrown away WAL that the target needs (max_slot_wal_keep_size). ${AGAIN}`;
  }
  if (isAnotherServer(target)) {
    return (
      'The target is another server than before, as after a failover or a restore: it may lack what it had confirmed. ' +
      AGAIN
    );
  }
  if (target.hasSubscription && !target.isEnabled) {
    return (
      `The subscription is disabled, as by an undo that was begun. Else enable it: ALTER SUBSCRIPTION ${SPLIT_MARK} ENABLE. ` +
      AGAIN
    );
  }
  return undefined;
}

/** Whether the target is not the server that began to follow: what that had confirmed it does not get again. */
export const isAnotherServer = ({ hasSubscription, mark, timeline }: Standing['target']): boolean =>
  hasSubscription && mark !== undefined && mark.timeline !== timeline;

/** @throws SplitRefusedError */
export function assertWhole(step: string, { broken }: Standing): void {
  if (broken !== undefined) throw new SplitRefusedError(step, [broken]);
}

/** So often the copy of a table, or a change, may fail before a person is asked: PostgreSQL tries again for ever. */
const MOST_FAILURES = 3;

/** @throws SplitRefusedError */
export function assertNotFailing(step: string, { failures: before }: Standing['target'], { target }: Standing): void {
  if (target.failures - before < MOST_FAILURES) return;
  throw new SplitRefusedError(step, [
    `The target could not write what it got from the source, ${target.failures} times, and PostgreSQL tries on. The log of its server ` +
      'says why, or that of the source, where a time-out ends the copy.',
  ]);
}
