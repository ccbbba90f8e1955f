import { setTimeout as sleep } from 'node:timers/promises';
import { raw, sql } from '../../database/sql';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { SplitRefusedError } from './errors';
import { type SplitSession } from './split-session';
import { SLOT, type Standing } from './standing';
import { DROP_PUBLICATIONS, keysInWal } from './tables';

const LOOK_MS = 50;
const SAY_MS = 5_000;

const USER = sql`
  SELECT active_pid AS pid, client_addr::text AS address,
    (SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout') AS "timeoutMs"
  FROM pg_replication_slots LEFT JOIN pg_stat_replication ON pid = active_pid
  WHERE slot_name = ${raw(SLOT)} AND active`;
const DROP_SLOT = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ${SLOT}`;

/**
 * Ends what the source keeps for the target, whose subscription is gone: the slot, for which WAL is kept; then the publications,
 * and the whole rows in the WAL of tables that had none before.
 */
export async function tidySource(session: SplitSession, { source }: Standing): Promise<void> {
  if (source.hasSlot || session.isDryRun) {
    if (!session.isDryRun) await untilFree(session);
    await session.online('source', DROP_SLOT);
  }
  if (source.mark || session.isDryRun) {
    await session.whileLocked('source', ...DROP_PUBLICATIONS, ...keysInWal(source.mark?.wholeRows ?? []));
  }
}

/**
 * The sender of the WAL notices in a moment that its subscriber is gone, or by its time-out where a machine was lost; unless that is
 * not gone at all.
 */
async function untilFree(session: SplitSession): Promise<void> {
  for (let waited = 0; ; waited += LOOK_MS) {
    const [user] = await session.read<{ pid: number; address: string | null; timeoutMs: number }>('source', USER);
    if (!user) return;
    const who = `process ${user.pid} of the source${user.address ? `, for ${user.address}` : ''}`;
    if (waited > Math.max(2 * SAY_MS, 1.5 * user.timeoutMs)) {
      throw new SplitRefusedError('end', [
        `The replication slot is in use by ${who}: a target that was taken for lost goes on following. Stop its server, or end its ` +
          `subscription there (ALTER SUBSCRIPTION ${SPLIT_MARK} DISABLE); then do this again.`,
      ]);
    }
    if (waited > 0 && waited % SAY_MS === 0) session.say(`The replication slot is in use by ${who} …`);
    await sleep(LOOK_MS);
  }
}
