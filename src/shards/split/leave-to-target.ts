import { query, raw, sql } from '../../database/sql';
import { inClass } from '../../fence/fence-sql';
import { withoutTimeouts } from '../../migrations/helpers/locking';
import { disown } from './disown';
import { type SplitSession } from './split-session';

const BATCH_SIZE = 1_000;

/**
 * Deletes at the source, once the target has what moves, what goes on there without the fence, which is on events, keys and
 * configurations alone.
 *
 * Leases: a renewal at the source finds none, and the worker stops. The lease itself is at the target, where nobody takes the
 * request from its holder until it ends.
 *
 * Messages without an event, of the sweeper or of `Outbox.enqueue`, that were written after the last disowning: those that
 * had reached the target, which delivers them. The others stay, and the relay of the source delivers them. One that a relay of the
 * source has claimed in between is not taken from it, and goes out twice, as any message may.
 */
export async function leaveToTarget(session: SplitSession): Promise<void> {
  await disown(session, {
    ...{
      at: 'source',
      restaurants: inClass(session.moves),
      table: 'auth_processing_locks',
      key: 'auth_request_id',
      where: 'true',
    },
    waiting: 'Waiting for transactions of the source that have locked leases of these restaurants …',
  });
  await deleteMessages(session);
}

interface Message {
  readonly id: string;
  readonly aggregate: string;
  readonly at: string;
}

const messagesAfter = (id: string, moves: string) => sql`
  SELECT id::text, aggregate_id::text AS aggregate, created_at::text AS at FROM outbox
  WHERE processed_at IS NULL AND ${raw(moves)} AND outbox.id > ${id}::bigint ORDER BY outbox.id LIMIT ${raw(BATCH_SIZE)}`;

/** Not by the id alone: a source that was promoted gives out again what its predecessor had given, where it was behind. */
const amongThem = (messages: readonly Message[]) => sql`
  SELECT id::text FROM outbox JOIN unnest(
    ${messages.map(({ id }) => id)}::bigint[], ${messages.map(({ aggregate }) => aggregate)}::uuid[],
    ${messages.map(({ at }) => at)}::timestamptz[]
  ) AS given (id, aggregate_id, created_at) USING (id, aggregate_id, created_at)`;

const deleteThem = (ids: readonly string[]) => sql`DELETE FROM outbox WHERE id IN (
  SELECT id FROM outbox WHERE id = ANY (${ids}::bigint[]) AND processed_at IS NULL FOR UPDATE SKIP LOCKED)`;

/** What is at the target does not change any more: nothing is replicated to it now. */
async function deleteMessages(session: SplitSession): Promise<void> {
  const moves = inClass(session.moves);
  const source = session.at('source');
  for (let last = '0'; ;) {
    const left = await withoutTimeouts(source, () => query<Message>(source, messagesAfter(last, moves)));
    const doubled = await session.read<{ id: string }>('target', amongThem(left));
    await session.online('source', deleteThem(doubled.map(({ id }) => id)));
    if (left.length < BATCH_SIZE || session.isDryRun) return;
    last = left.at(-1)!.id;
  }
}
