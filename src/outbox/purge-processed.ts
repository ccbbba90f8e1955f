import { IsOptional } from 'class-validator';
import { bigint, float8 } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { Callable } from '../validation/option-rules';
import { LONGEST_AGE_MS, WholeNumber } from '../validation/rules';
import { validateOptions } from '../validation/validate-options';

/** What a purge of messages is told. */
export class PurgeMessagesOptions {
  /** Those that were delivered or discarded more than so many milliseconds ago: 0 to a hundred years. */
  @WholeNumber(0, LONGEST_AGE_MS)
  olderThanMs: number;

  /** How many ids a transaction: 1 to 1,000,000. Default 10,000. */
  @IsOptional()
  @WholeNumber(1, 1_000_000)
  batchSize?: number;

  /** Called after each transaction with the number of messages so far. */
  @IsOptional()
  @Callable()
  onBatch?: (purged: number) => void;
}

/** In a subquery: PostgreSQL takes the ends of an index for min and max only in a query without WITH. */
const PROCESSED_RANGE = operation({
  name: 'processed_range',
  input: { older_than_ms: float8 },
  output: rowsOf<{ first: string | null; last: string | null }>(),
  sql: `
  SELECT first, last FROM (
    SELECT min(id) AS first, max(id) AS last FROM outbox, input
    WHERE processed_at < now() - older_than_ms * interval '1 millisecond'
  ) AS processed`,
});

const PURGE = operation({
  name: 'purge_processed',
  input: { first_id: bigint, end_id: bigint, older_than_ms: float8 },
  sql: `
  DELETE FROM outbox USING input
  WHERE id >= first_id AND id < end_id AND processed_at < now() - older_than_ms * interval '1 millisecond'`,
});

export async function purgeProcessed(session: Session, options: PurgeMessagesOptions): Promise<number> {
  const { olderThanMs, batchSize = 10_000, onBatch } = validateOptions({ PurgeMessagesOptions }, options);
  const range = await session.row(PROCESSED_RANGE, { older_than_ms: olderThanMs });
  if (!range?.first || !range.last) return 0;
  let purged = 0;
  for (let from = BigInt(range.first); from <= BigInt(range.last); from += BigInt(batchSize)) {
    const end = from + BigInt(batchSize);
    purged += await session.write(PURGE, { first_id: from, end_id: end, older_than_ms: olderThanMs });
    onBatch?.(purged);
  }
  return purged;
}
