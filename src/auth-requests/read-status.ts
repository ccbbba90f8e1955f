import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';

const READ_STATUS = statement(
  'read_status',
  `SELECT status FROM auth_request_state WHERE auth_request_id = $1 AND restaurant_id = $2`,
);

/** The status as committed by now, to explain why a write before it changed nothing. */
export async function readStatus(
  dataSource: DataSource,
  { authRequestId, restaurantId }: { authRequestId: string; restaurantId: string },
  manager?: EntityManager,
): Promise<AuthRequestStatus | undefined> {
  const [row] = await run<{ status: AuthRequestStatus }>(
    dataSource,
    READ_STATUS,
    [authRequestId, restaurantId],
    manager,
  );
  return row?.status;
}
