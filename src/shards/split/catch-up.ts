import { setTimeout as sleep } from 'node:timers/promises';
import { sql, raw } from '../../database/sql';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { type SplitSession } from './split-session';
import { assertNotFailing, assertWhole, readStanding, SLOT, type Standing } from './standing';

const LOOK_MS = 50;
const SAY_MS = 5_000;

/**
 * Waits until the target has written down all that has been committed at the source. The message is a record of its own in the
 * WAL: the end of the last one could be a place that nobody confirms, before the header of a page.
 */
export async function catchUp(session: SplitSession, step: string): Promise<void> {
  if (session.isDryRun) return;
  const [{ lsn }] = (await session.read<{ lsn: string }>(
    'source',
    sql`SELECT pg_logical_emit_message(true, ${SPLIT_MARK}, '')::text AS lsn`,
  )) as [{ lsn: string }];
  let before: Standing['target'] | undefined;
  for (let waited = 0; ; waited += LOOK_MS) {
    const [slot] = await session.read<{ isThere: boolean; isBehindBytes: number }>(
      'source',
      sql`SELECT confirmed_flush_lsn >= ${lsn}::pg_lsn AS "isThere", (${lsn}::pg_lsn - confirmed_flush_lsn)::float8 AS "isBehindBytes"
          FROM pg_replication_slots WHERE slot_name = ${raw(SLOT)}`,
    );
    if (slot?.isThere) return;
    const standing = await readStanding(session);
    assertWhole(step, standing);
    assertNotFailing(step, (before ??= standing.target), standing);
    if (waited > 0 && waited % SAY_MS === 0) session.say(`The target is ${slot?.isBehindBytes} bytes of WAL behind …`);
    await sleep(LOOK_MS);
  }
}
