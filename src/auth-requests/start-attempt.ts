import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { type Lease } from '../locks/processing-locks';
import { validateCommand } from '../validation/validate-command';
import { StartAttemptCommand } from './commands';
import { LEASE, workerValues, writeUnderLease } from './worker-write';

/** What a worker is to do. */
export type Attempt =
  | {
      /**
       * `proceed`: ask the processor. `settle`: the request is closed, but somebody has asked the processor and nobody
       * recorded the answer; ask again under the same processor idempotency key (the authRequestId) and record it.
       */
      readonly outcome: 'proceed' | 'settle';
      readonly status: AuthRequestStatus;
      readonly paymentToken: string;
      readonly amountCents: number;
      readonly currency: string;
      readonly metadata: Record<string, unknown>;
      /** Attempts that have failed and were to be tried again. */
      readonly retryCount: number;
    }
  | {
      /** Nothing was written: acknowledge the message. */
      readonly outcome: 'nothing_to_do';
      readonly status: AuthRequestStatus;
    };

interface StartedRow {
  status: AuthRequestStatus;
  payment_token: string;
  amount_cents: string;
  currency: string;
  metadata: Record<string, unknown> | null;
  retry_count: number;
}

/**
 * The decision reads the row only through the UPDATE's own WHERE and SET: after waiting for a concurrent void they are
 * evaluated again on the row as the void has left it. (A SELECT of the same statement would see the row as it was.)
 */
const START_ATTEMPT = statement(
  'start_attempt',
  `WITH lease AS (${LEASE}
   ), changed AS (
     UPDATE auth_request_state
     SET status = CASE status WHEN 'PENDING' THEN 'PROCESSING' ELSE status END,
         completed_at = CASE WHEN status IN ('VOIDED', 'EXPIRED', 'FAILED') THEN coalesce(completed_at, now()) END,
         attempt_open = true,
         last_event_sequence = last_event_sequence + 1, last_event_id = $5
     WHERE auth_request_id = $1 AND restaurant_id = $2 AND EXISTS (SELECT FROM lease)
       AND (status IN ('PENDING', 'PROCESSING') OR status IN ('VOIDED', 'EXPIRED', 'FAILED') AND attempt_open)
     RETURNING *
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $5, auth_request_id, 'auth_request', 'AuthAttemptStarted', $6::bytea, $7::jsonb, last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT status, payment_token, amount_cents, currency, metadata, retry_count FROM changed`,
);

export async function startAttempt(
  dataSource: DataSource,
  lease: Lease,
  input: StartAttemptCommand,
  manager?: EntityManager,
): Promise<Attempt> {
  const command = validateCommand(StartAttemptCommand, input);
  const { authRequestId, workerId } = lease;
  const values = workerValues(lease, command, {
    type: 'AuthAttemptStarted',
    data: { authRequestId, workerId, restaurantPaymentConfigVersion: command.configVersion, startedAt: new Date() },
  });
  const { row, standing } = await writeUnderLease<StartedRow>(dataSource, START_ATTEMPT, values, manager);
  if (!row) return { outcome: 'nothing_to_do', status: standing.status };
  return {
    outcome: row.status === 'PROCESSING' ? 'proceed' : 'settle',
    status: row.status,
    paymentToken: row.payment_token,
    amountCents: Number(row.amount_cents),
    currency: row.currency,
    metadata: row.metadata ?? {},
    retryCount: row.retry_count,
  };
}
