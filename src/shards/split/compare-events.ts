import { type BoundSql, raw, sql } from '../../database/sql';
import { inClass } from '../../fence/fence-sql';
import { catchUp } from './catch-up';
import { SplitRefusedError } from './errors';
import { type End, type SplitSession } from './split-session';

/** Transactions that are open have ids of events before the last one, and may commit between the looks at the two ends. */
const STILL_OPEN = 100_000n;

/** The last event of the source, by its id. */
export async function lastEventOf(session: SplitSession): Promise<string> {
  const last = sql`SELECT last_value::text AS last FROM payment_events_id_seq`;
  const [found] = await session.read<{ last: string }>('source', last);
  return found!.last;
}

const countOf = (moves: string, after: bigint, upTo: bigint) => sql`
  SELECT count(*)::text AS events FROM payment_events
  WHERE id > ${String(after)}::bigint AND id <= ${String(upTo)}::bigint AND ${raw(moves)}`;

/**
 * Makes sure that the target has got every event since it was published: each write of money appends one. What has been confirmed
 * for the target it does not get again, and others can confirm: a physical copy of its server that was started follows by the same
 * slot, a person may advance the slot. Counted are events that no transaction adds to any more, by the primary key.
 *
 * @param after the id of the last event that was counted before
 * @returns that of the last one that is counted now
 * @throws SplitRefusedError
 */
export async function compareEvents(
  session: SplitSession,
  { after, isFenced }: { readonly after: bigint; readonly isFenced: boolean },
): Promise<bigint> {
  const last = BigInt(await lastEventOf(session));
  const upTo = isFenced ? last : last - STILL_OPEN;
  await catchUp(session, 'cut-over');
  if (session.isDryRun || upTo <= after) return after;
  const counted = countOf(inClass(session.moves), after, upTo);
  const [atSource, atTarget] = [await count(session, 'source', counted), await count(session, 'target', counted)];
  // More are no fault: a transaction that was open for as long as that has committed in between.
  if (atTarget >= atSource) return upTo;
  throw new SplitRefusedError('cut-over', [
    `Of the events of what moves, the source has ${atSource} and the target ${atTarget}: a copy of its server may have followed in its ` +
      'place. Undo it, and start again with a new, empty target: npx payment-events-db shard split undo.',
  ]);
}

async function count(session: SplitSession, at: End, counted: BoundSql): Promise<bigint> {
  const [found] = await session.scan<{ events: string }>(at, counted);
  return BigInt(found!.events);
}
