import { IsDate, IsDefined, IsInt, IsOptional, IsString, Length, Min, ValidateIf } from 'class-validator';
import { Check, Column, Index } from 'typeorm';
import { IdentityColumn } from './identity-column';
import { HasDefault } from '../validation/row-rules';
import { TextMap } from '../validation/json-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';

/** Stricter than the database, which looks at discarded_at alone. */
const isDiscarded = ({ discardedAt, discardedBy, discardReason }: OutboxMessage) =>
  discardedAt != null || discardedBy != null || discardReason != null;

/**
 * One message on its way to a queue, written in the transaction of what it tells and delivered by a relay.
 * Pending until processedAt is set; a dead letter once failedAt is, until someone requeues or discards it.
 */
@Table('outbox', 'OutboxMessage')
@Check(
  'outbox_discard_attributed',
  'discarded_at IS NULL OR (discarded_by IS NOT NULL AND discard_reason IS NOT NULL AND processed_at IS NOT NULL)',
)
@Check('outbox_headers_texts', `headers @@ 'strict $.type() == "object" && !exists($.* ? (@.type() != "string"))'`)
@Index('idx_outbox_next_attempt', ['nextAttemptAt'], {
  where: 'processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NOT NULL',
})
@Index('idx_outbox_pending', ['id'], {
  where: 'processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL',
})
@Index('idx_outbox_processed_at', { synchronize: false })
@Index('idx_outbox_refused', ['failedAt', 'id'], {
  where: 'processed_at IS NULL AND (attempts > 0 OR failed_at IS NOT NULL)',
})
@Index('idx_outbox_unprocessed_aggregate', ['aggregateId', 'id'], { where: 'processed_at IS NULL' })
export class OutboxMessage {
  /** The order of delivery within one aggregate. */
  @IdentityColumn('outbox_pkey')
  id: bigint;

  /** The authorization request. */
  @Column({ name: 'aggregate_id', type: 'uuid' })
  @Uuid()
  aggregateId: string;

  /** `auth_request_queued` or `void_request_queued`, or one of a service's own. Decides the queue. */
  @Column({ name: 'message_type', type: 'varchar', length: 100 })
  @Length(1, 100)
  messageType: string;

  /** The protobuf message. The relay never looks inside. */
  @Column({ type: 'bytea' })
  @IsDefined()
  payload: Buffer;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  createdAt: Date;

  /** When it was delivered or discarded. */
  @Column({ name: 'processed_at', type: 'timestamptz', nullable: true })
  @ValidateIf((message: OutboxMessage) => isDiscarded(message) || message.processedAt != null)
  @IsDate()
  processedAt: Date | null;

  @Column({ name: 'restaurant_id', type: 'uuid' })
  @Uuid()
  restaurantId: string;

  /** For the receiver of the message: the W3C trace context and the like. */
  @Column({ type: 'jsonb', default: {} })
  @HasDefault()
  @TextMap()
  headers: Record<string, string>;

  /** Deliveries tried and refused. */
  @Column({ type: 'integer', default: 0 })
  @HasDefault()
  @IsInt()
  @Min(0)
  attempts: number;

  /** Not before then. Null: at once. */
  @Column({ name: 'next_attempt_at', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  nextAttemptAt: Date | null;

  /** Why the last delivery was refused. */
  @Column({ name: 'last_error', type: 'text', nullable: true })
  lastError: string | null;

  /** When it was given up. */
  @Column({ name: 'failed_at', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  failedAt: Date | null;

  @Column({ name: 'discarded_at', type: 'timestamptz', nullable: true })
  @ValidateIf(isDiscarded)
  @IsDate()
  discardedAt: Date | null;

  @Column({ name: 'discarded_by', type: 'varchar', length: 255, nullable: true })
  @ValidateIf(isDiscarded)
  @Length(1, 255)
  discardedBy: string | null;

  @Column({ name: 'discard_reason', type: 'text', nullable: true })
  @ValidateIf(isDiscarded)
  @IsString()
  discardReason: string | null;
}
