import { float8, integer } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { IS_OWNED, ownedBy, ownedColumns } from '../fence/owned';
import { HOLD } from './send-voids';
import { type LapsingHold } from './sweep-result';
import { type TurnSettings } from './sweeper-options';

/** By idx_auth_holds_held, whose condition it repeats. */
const FIND_LAPSING = operation({
  name: 'sweeper_lapsing',
  input: { lapsing_within_ms: float8, at_most: integer, ...ownedColumns },
  output: rowsOf<Omit<LapsingHold, 'amountCents'> & { amountCents: string }>(),
  sql: `
    SELECT ${HOLD}, hold_expires_at AS "holdExpiresAt", amount_cents AS "amountCents", currency
    FROM auth_holds CROSS JOIN input
    WHERE state::text = 'held' AND is_needed AND hold_expires_at > statement_timestamp() AND ${IS_OWNED}
      AND hold_expires_at <= statement_timestamp() + lapsing_within_ms * interval '1 millisecond'
    ORDER BY hold_expires_at LIMIT (SELECT at_most FROM input)`,
});

/** Holds that are needed, and about to lapse. */
export async function findLapsing(
  session: Session,
  { lapsingWithinMs, batchSize, fence }: TurnSettings,
): Promise<LapsingHold[]> {
  const input = { lapsing_within_ms: lapsingWithinMs, at_most: batchSize, ...ownedBy(fence) };
  const rows = await session.rows(FIND_LAPSING, input);
  return rows.map((row) => ({ ...row, amountCents: Number(row.amountCents) }));
}
