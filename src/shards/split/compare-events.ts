import { raw, sql } from '../../database/sql';
import { inClass } from '../../fence/fence-sql';
import { catchUp } from './catch-up';
import { SplitRefusedError } from './errors';
import { type SplitSession } from './split-session';

/** Of transactions that are open at the first look: their events have ids before its end, and it does not see them. */
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
 * slot, a person may advance the slot. The source is read first, so that the target may have more; by the primary key.
 *
 * @param after the id from which on events are counted
 * @returns from where on to count the next time
 * @throws SplitRefusedError
 */
export async function compareEvents(session: SplitSession, after: bigint): Promise<bigint> {
  if (session.isDryRun) return after;
  const last = BigInt(await lastEventOf(session));
  const counted = countOf(inClass(session.moves), after, last);
  const count = async (at: 'source' | 'target') =>
    BigInt((await session.scan<{ events: string }>(at, counted))[0]!.events);
  const atSource = await count('source');
  await catchUp(session, 'cut-over');
  const missing = atSource - (await count('target'));
  if (missing > 0n) {
    throw new SplitRefusedError('cut-over', [
      `The target lacks ${missing} events that were confirmed for it: a copy of its server may have followed in its place. ` +
        'Undo it, and start again with a new, empty target: npx payment-events-db shard split undo.',
    ]);
  }
  const next = last - STILL_OPEN;
  return next > after ? next : after;
}
