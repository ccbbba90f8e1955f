import { screenReport } from '../../card-numbers/screen';
import { rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { appendEvent, eventOf } from '../../event-store/append-event';
import { type LeaseRef } from '../../locks/lease';
import { validateCommand } from '../../validation/validate-command';
import { type LeaseAfter, workerWrite } from '../worker-write';
import { type HoldState } from './states';
import { beforeVoid, countEvent, voidColumns, voidInput, VoidWriteCommand, writeVoid } from './void-write';
import { isMeant } from './write-holds';

/** The processor has voided a hold. */
export class VoidedCommand extends VoidWriteCommand {}

/** What recording a void came to. */
export interface RecordedVoid {
  /** `voided`; or `captured`, where the processor has told of that, which counts for more. */
  readonly state: HoldState;
  /** It was recorded before: nothing was written. */
  readonly replayed: boolean;
}

/**
 * A hold that is voided already says so: nothing is written. One that lapsed was voided for all that
 * is known now. One that was captured stays so, and has the event.
 */
const RECORD_VOIDED = workerWrite({
  name: 'record_voided',
  input: { ...voidColumns, event: eventOf('AuthVoidCompleted') },
  output: rowsOf<{ state: HoldState; is_outdated: boolean }>(),
  sql: (input, lease) => `
    WITH ${beforeVoid(lease.held)}, changed AS (${countEvent(
      `(SELECT * FROM before WHERE state_before <> 'voided')`,
      'void_cents, worker_id, is_stray',
    )}
    ), hold AS (
      UPDATE auth_holds AS hold
      SET state = CASE hold.state WHEN 'captured' THEN hold.state ELSE 'voided' END,
          ended_by = CASE hold.state WHEN 'captured' THEN hold.ended_by ELSE changed.worker_id END,
          ended_amount_cents = CASE hold.state WHEN 'captured' THEN hold.ended_amount_cents ELSE nullif(void_cents, 0) END,
          is_needed = hold.is_needed AND NOT is_stray, last_event_sequence = changed.last_event_sequence
      FROM changed JOIN input USING (auth_request_id, restaurant_id)
      WHERE ${isMeant('changed')}
      RETURNING hold.state, hold.is_needed, hold.auth_request_id
    ), event AS (${appendEvent(input, {
      from: 'changed JOIN input USING (auth_request_id, restaurant_id) JOIN hold USING (auth_request_id)',
      metadata: `jsonb_build_object('hold_state', state, 'hold_needed', is_needed)`,
    })}
    )${lease.release}
    SELECT state, false AS is_outdated FROM hold
    UNION ALL SELECT NULL, true FROM seen WHERE is_outdated`,
});

export async function recordVoided(
  session: Session,
  lease: LeaseRef,
  input: VoidedCommand,
  after: LeaseAfter = 'kept',
): Promise<RecordedVoid> {
  const command = screenReport(session.dataSource, 'recordVoided', validateCommand({ VoidedCommand }, input));
  const { processorName, processorAuthId } = command;
  const voided = {
    ...voidInput(lease, command, 'VOIDED'),
    event: { authRequestId: lease.authRequestId, processorName, processorAuthId, completedAt: new Date() },
  };
  return await writeVoid(
    session,
    lease,
    {
      write: RECORD_VOIDED,
      input: voided,
      written: ({ state }): RecordedVoid => ({ state, replayed: false }),
      repeated: (before, state) => (before || state === 'voided' ? { state, replayed: true } : undefined),
    },
    after,
  );
}
