import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthRequestStatusError } from '../errors';
import { type Lease } from '../locks/processing-locks';
import { validateCommand } from '../validation/validate-command';
import { DeniedCommand } from './commands';
import { type RecordedResult } from './record-authorized';
import { LEASE, workerValues, writeUnderLease } from './worker-write';

/** A closed request keeps its status and its row; the event says what the processor answered, and settles the attempt. */
const RECORD_DENIED = statement(
  'record_denied',
  `WITH lease AS (${LEASE}
   ), changed AS (
     UPDATE auth_request_state
     SET status = CASE status WHEN 'PROCESSING' THEN 'DENIED' ELSE status END,
         processor_name = CASE status WHEN 'PROCESSING' THEN $8 ELSE processor_name END,
         denial_code = CASE status WHEN 'PROCESSING' THEN $9 ELSE denial_code END,
         denial_reason = CASE status WHEN 'PROCESSING' THEN $10 ELSE denial_reason END,
         completed_at = coalesce(completed_at, now()),
         attempt_open = false,
         last_event_sequence = last_event_sequence + 1, last_event_id = $5
     WHERE auth_request_id = $1 AND restaurant_id = $2 AND EXISTS (SELECT FROM lease)
       AND (status = 'PROCESSING' OR status IN ('VOIDED', 'EXPIRED', 'FAILED') AND attempt_open)
     RETURNING *
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $5, auth_request_id, 'auth_request', 'AuthResponseReceived', $6::bytea, $7::jsonb, last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT status FROM changed`,
);

export async function recordDenied(
  dataSource: DataSource,
  lease: Lease,
  input: DeniedCommand,
  manager?: EntityManager,
): Promise<RecordedResult> {
  const command = validateCommand(DeniedCommand, input);
  const { authRequestId } = lease;
  const { processorName, denialCode = '', denialReason = '' } = command;
  const values = [
    ...workerValues(lease, command, {
      type: 'AuthResponseReceived',
      data: {
        authRequestId,
        status: 'DENIED',
        result: {
          processorAuthId: '',
          processorName,
          authorizedAmountCents: 0,
          currency: '',
          authorizationCode: '',
          authorizedAt: undefined,
          denialCode,
          denialReason,
          processorMetadata: command.processorMetadata ?? {},
        },
        receivedAt: new Date(),
      },
    }),
    processorName,
    denialCode,
    denialReason,
  ];
  const { row, standing } = await writeUnderLease<{ status: AuthRequestStatus }>(
    dataSource,
    RECORD_DENIED,
    values,
    manager,
  );
  if (row) return { status: row.status, replayed: false, voidQueued: false };
  if (standing.status === 'DENIED' && standing.denialCode === denialCode) {
    return { status: 'DENIED', replayed: true, voidQueued: false };
  }
  throw new AuthRequestStatusError(authRequestId, standing.status, 'recordDenied');
}
