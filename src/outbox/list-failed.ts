import { IsOptional } from 'class-validator';
import { bigint, integer } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { BigInteger, LARGEST_BIGINT, WholeNumber } from '../validation/rules';
import { validateOptions } from '../validation/validate-options';

/** A page of dead letters. */
export class ListFailedOptions {
  /** At most so many: 1 to 10,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  limit?: number;

  /** Those after this message: the `id` of the last one of the page before. */
  @IsOptional()
  @BigInteger(0n, LARGEST_BIGINT)
  after?: bigint;
}

/** A message that was given up. Its payload is not shown. */
export interface FailedMessage {
  readonly id: bigint;
  readonly aggregateId: string;
  readonly restaurantId: string;
  readonly messageType: string;
  readonly attempts: number;
  readonly lastError: string | null;
  readonly createdAt: Date;
  readonly failedAt: Date;
  /** Messages of the same aggregate that wait behind it. */
  readonly waiting: number;
}

interface FailedRow {
  id: string;
  aggregate_id: string;
  restaurant_id: string;
  message_type: string;
  attempts: number;
  last_error: string | null;
  created_at: Date;
  failed_at: Date;
  waiting: number;
}

const LIST_FAILED = operation({
  name: 'list_failed',
  input: { after_id: bigint, page_size: integer },
  output: rowsOf<FailedRow>(),
  sql: `
  SELECT id, aggregate_id, restaurant_id, message_type, attempts, last_error, created_at, failed_at,
         (SELECT count(*) FROM outbox AS behind
          WHERE behind.aggregate_id = message.aggregate_id AND behind.processed_at IS NULL
            AND behind.id > message.id)::integer AS waiting
  FROM outbox AS message, input
  WHERE processed_at IS NULL AND failed_at IS NOT NULL AND id > after_id
  ORDER BY id LIMIT (SELECT page_size FROM input)`,
});

export async function listFailed(session: Session, options?: ListFailedOptions): Promise<FailedMessage[]> {
  const { limit = 100, after = 0n } = validateOptions({ ListFailedOptions }, options);
  const rows = await session.rows(LIST_FAILED, { after_id: after, page_size: limit });
  return rows.map((row) => ({
    id: BigInt(row.id),
    aggregateId: row.aggregate_id,
    restaurantId: row.restaurant_id,
    messageType: row.message_type,
    attempts: row.attempts,
    lastError: row.last_error,
    createdAt: row.created_at,
    failedAt: row.failed_at,
    waiting: row.waiting,
  }));
}
