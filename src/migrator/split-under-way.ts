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
