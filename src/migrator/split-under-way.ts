import { type Queryable } from '../database/queryable';
import { query, sql } from '../database/sql';
import { SplitUnderWayError } from './errors';

/** The publication that both databases have as long as restaurants move from one to the other: see `ShardSplit`. */
export const SPLIT_MARK = 'payment_events_split';

/**
 * Both ends of a split keep the schema that they have: what is copied and replicated fits the tables of the other.
 *
 * @throws SplitUnderWayError
 */
export async function assertNoSplit(session: Queryable): Promise<void> {
  const found = await query(session, sql`SELECT FROM pg_publication WHERE pubname = ${SPLIT_MARK}`);
  if (found.length > 0) throw new SplitUnderWayError();
}

/**
 * The fence of either end is the split's own: what a source without it takes reaches the target no more once that has taken over.
 * A source whose slot is gone, or not made yet, hands nothing over, so that a person may widen it there and give the target up.
 *
 * @throws SplitUnderWayError
 */
export async function assertFenceMayChange(session: Queryable): Promise<void> {
  const found = await query(
    session,
    // The mark of a target has no tables.
    sql`SELECT FROM pg_publication WHERE pubname = ${SPLIT_MARK} AND (
      NOT EXISTS (SELECT FROM pg_publication_rel WHERE prpubid = pg_publication.oid)
      OR EXISTS (SELECT FROM pg_replication_slots WHERE starts_with(slot_name, ${SPLIT_MARK}) AND database = current_database())
    )`,
  );
  if (found.length > 0) throw new SplitUnderWayError();
}
