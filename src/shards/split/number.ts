import { sql } from '../../database/sql';
import { numberOf } from '../../fence/sequence-range';
import { type SplitSession } from './split-session';

/** A sequence that was restarted has not been called, and counts all the same. By the primary keys no table is read through. */
const USED = sql`
  SELECT greatest(
    (SELECT last_value FROM payment_events_id_seq), (SELECT last_value FROM outbox_id_seq),
    (SELECT last_value FROM auth_processing_fencing_tokens),
    (SELECT max(id) FROM payment_events), (SELECT max(id) FROM outbox))::text AS used`;

/**
 * What the target counts comes after all that the source has counted, or got from elsewhere. Else a new row there could have the
 * id of one that moves, and a new message would go out before an older one of its request: the order is that of the ids.
 */
export async function numberProblems(session: SplitSession): Promise<string[]> {
  const [{ used }] = (await session.read<{ used: string }>('source', USED)) as [{ used: string }];
  if (session.first > BigInt(used)) return [];
  return [
    `Number ${session.ends.number} is too small: the source has rows or sequences in the range of ${numberOf(BigInt(used))}. ` +
      'Give the target a greater one, which no database ever had.',
  ];
}
