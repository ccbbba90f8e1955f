import { setTimeout as sleep } from 'node:timers/promises';
import { raw, sql } from '../../database/sql';
import { type SplitSession } from './split-session';
import { SLOT, type Standing } from './standing';
import { DROP_PUBLICATIONS, keysInWal } from './tables';

const LOOK_MS = 50;

const IS_ACTIVE = sql`SELECT active FROM pg_replication_slots WHERE slot_name = ${raw(SLOT)}`;
const DROP_SLOT = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ${SLOT}`;

/**
 * Ends what the source keeps for the target, whose subscription is gone: the slot, for which WAL is kept; then the publications,
 * and the whole rows in the WAL of tables that had none before.
 */
export async function tidySource(session: SplitSession, { source }: Standing): Promise<void> {
  if (source.hasSlot || session.isDryRun) {
    // The sender of the WAL notices in a moment that its subscriber is gone.
    while (!session.isDryRun && (await session.read<{ active: boolean }>('source', IS_ACTIVE))[0]?.active)
      await sleep(LOOK_MS);
    await session.online('source', DROP_SLOT);
  }
  if (source.mark || session.isDryRun) {
    await session.whileLocked('source', ...DROP_PUBLICATIONS, ...keysInWal(source.mark?.wholeRows ?? []));
  }
}
