import { query, sql } from '../../database/sql';
import { fenceOf } from '../../fence/fence-sql';
import { type SplitSession } from './split-session';

const FENCE = fenceOf('payment_events');
const TEXT = 'What this fence refuses was cleaned up, or that was begun: the split cannot be undone.';

/**
 * Says at the source that rows are deleted from here on. Committed before the first of them, and in the same WAL: whatever has
 * lost a row has the mark, also after a crash, a failover or a restore. It goes with the fence.
 */
export async function markCleanUp(session: SplitSession): Promise<void> {
  if (await isCleanUpMarked(session)) return;
  await session.whileLocked('source', `COMMENT ON CONSTRAINT ${FENCE} ON payment_events IS '${TEXT}'`);
}

/** Whether the source may lack rows that only the target has. */
export async function isCleanUpMarked(session: SplitSession): Promise<boolean> {
  const found = await query(
    session.at('source'),
    sql`SELECT FROM pg_constraint WHERE conrelid = 'payment_events'::regclass AND conname = ${FENCE}
          AND obj_description(oid, 'pg_constraint') = ${TEXT}`,
  );
  return found.length > 0;
}
