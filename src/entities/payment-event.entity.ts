import { IsDate, IsDefined, IsInt, IsPositive, Length } from 'class-validator';
import { Check, Column, Generated, Index, Unique } from 'typeorm';
import { IdentityColumn } from './identity-column';
import { HasDefault } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';

/**
 * One thing that has happened to one authorization request, for good: rows are never changed or deleted.
 * The events of a request are numbered 1, 2, 3 … without gaps by sequence_number.
 */
@Table('payment_events', 'PaymentEvent')
@Unique('unique_aggregate_sequence', ['aggregateId', 'sequenceNumber'])
@Unique('payment_events_event_id_key', ['eventId'])
@Check('check_sequence_positive', 'sequence_number > 0')
@Check('payment_events_metadata_present', 'metadata IS NOT NULL')
@Index('idx_payment_events_created_at', { synchronize: false })
export class PaymentEvent {
  /** Position in the store. Gaps are normal; a larger position does not mean a later commit. */
  @IdentityColumn('payment_events_pkey')
  id: bigint;

  @Column({ name: 'event_id', type: 'uuid' })
  @Generated('uuid')
  @HasDefault()
  @Uuid()
  eventId: string;

  /** The authorization request. */
  @Column({ name: 'aggregate_id', type: 'uuid' })
  @Uuid()
  aggregateId: string;

  /** `auth_request`. */
  @Column({ name: 'aggregate_type', type: 'varchar', length: 50 })
  @Length(1, 50)
  aggregateType: string;

  /** The name of the protobuf message in eventData. */
  @Column({ name: 'event_type', type: 'varchar', length: 100 })
  @Length(1, 100)
  eventType: string;

  @Column({ name: 'event_data', type: 'bytea' })
  @IsDefined()
  eventData: Buffer;

  /**
   * Correlation and causation ids, the idempotency key and the like; nothing personal. Legacy rows may hold JSON text
   * inside a JSON string, or nothing.
   */
  @Column({ type: 'jsonb', default: {}, nullable: true })
  @HasDefault()
  @IsDefined()
  metadata: unknown;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  createdAt: Date;

  @Column({ name: 'sequence_number', type: 'integer' })
  @IsInt()
  @IsPositive()
  sequenceNumber: number;

  @Column({ name: 'restaurant_id', type: 'uuid' })
  @Uuid()
  restaurantId: string;
}
