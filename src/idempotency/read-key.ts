import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';

/**
 * A statement of its own, after one that met the key and wrote nothing: only a new snapshot sees what the other
 * transaction has committed. The request's row may be lacking behind a legacy key.
 */
const READ_KEY = statement(
  'read_idempotency_key',
  `SELECT key.auth_request_id, key.operation, key.outcome, key.request_fingerprint, state.status
   FROM auth_idempotency_keys AS key
   LEFT JOIN auth_request_state AS state
     ON state.auth_request_id = key.auth_request_id AND state.restaurant_id = key.restaurant_id
   WHERE key.idempotency_key = $1 AND key.restaurant_id = $2 AND key.expires_at > now()`,
);

interface KeyRow {
  auth_request_id: string;
  operation: string;
  outcome: string | null;
  request_fingerprint: Buffer | null;
  status: AuthRequestStatus | null;
}

/** What an unexpired key has stood for. */
export interface UsedKey {
  readonly authRequestId: string;
  readonly outcome: string | null;
  readonly status: AuthRequestStatus | null;
  /** Whether it was for that operation and that request. A legacy key has no fingerprint to compare. */
  stoodFor(operation: string, requestFingerprint: Buffer): boolean;
}

export async function readKey(
  dataSource: DataSource,
  { idempotencyKey, restaurantId }: { idempotencyKey: string; restaurantId: string },
  manager?: EntityManager,
): Promise<UsedKey | undefined> {
  const [row] = await run<KeyRow>(dataSource, READ_KEY, [idempotencyKey, restaurantId], manager);
  return (
    row && {
      authRequestId: row.auth_request_id,
      outcome: row.outcome,
      status: row.status,
      stoodFor: (operation, requestFingerprint) =>
        row.operation === operation &&
        (row.request_fingerprint === null || row.request_fingerprint.equals(requestFingerprint)),
    }
  );
}
