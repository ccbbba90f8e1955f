import { IsBoolean, IsDate, IsIn, IsInt, IsOptional, Length, Max, Min } from 'class-validator';
import { Check, Column, ForeignKey, Index, PrimaryColumn } from 'typeorm';
import { HOLD_STATES, type HoldState } from '../auth-requests/holds/states';
import { HasDefault } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { PaymentEvent } from './payment-event.entity';
import { Table } from './table';
import { safeInteger } from './transformers';

const primary = { primaryKeyConstraintName: 'auth_holds_pkey' };

/** One authorization that a processor has reported, and where its money is: the fold of the request's events. */
@Table('auth_holds', 'AuthHold')
@ForeignKey(() => PaymentEvent, ['authRequestId', 'lastEventSequence'], ['aggregateId', 'sequenceNumber'], {
  name: 'auth_holds_last_event_fkey',
})
@Check('auth_holds_state', `state::text = ANY ('{held,voiding,voided,void_failed,captured,lapsed}'::text[])`)
@Check('auth_holds_voiding_unneeded', `NOT is_needed OR state::text <> ALL ('{voiding,void_failed}'::text[])`)
@Check('auth_holds_amount_not_negative', 'amount_cents >= 0')
@Index('idx_auth_holds_processor', ['processorAuthId', 'processorName'])
@Index('idx_auth_holds_held', ['holdExpiresAt'], { where: `state::text = 'held' AND is_needed` })
@Index('idx_auth_holds_open', ['stateSince'], {
  where: `NOT is_needed AND closed_by IS NULL AND state::text = ANY ('{held,voiding,void_failed,captured}'::text[])`,
})
export class AuthHold {
  @PrimaryColumn({ ...primary, name: 'auth_request_id', type: 'uuid' })
  @Uuid()
  authRequestId: string;

  @Column({ name: 'restaurant_id', type: 'uuid' })
  @Uuid()
  restaurantId: string;

  /** Empty where a legacy service did not say. */
  @PrimaryColumn({ ...primary, name: 'processor_name', type: 'varchar', length: 50 })
  @Length(0, 50)
  processorName: string;

  /** The processor's own id of the authorization. */
  @PrimaryColumn({ ...primary, name: 'processor_auth_id', type: 'varchar', length: 255 })
  @Length(0, 255)
  processorAuthId: string;

  /** What was authorized, in the currency's minor unit; 0 where nobody has said. */
  @Column({ name: 'amount_cents', type: 'bigint', transformer: safeInteger })
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  amountCents: number;

  /** ISO 4217, upper case. */
  @Column({ type: 'varchar', length: 3 })
  @Length(0, 3)
  currency: string;

  /** The configuration version that it was asked under, and is voided by; null where nobody knows. */
  @Column({ name: 'config_version', type: 'varchar', length: 50, nullable: true })
  @IsOptional()
  @Length(0, 50)
  configVersion: string | null;

  /** By the processor's clock. */
  @Column({ name: 'authorized_at', type: 'timestamptz' })
  @IsDate()
  authorizedAt: Date;

  /** Until when the processor holds the money, where it has said so. */
  @Column({ name: 'hold_expires_at', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  holdExpiresAt: Date | null;

  @Column({ type: 'varchar', length: 20 })
  @IsIn(HOLD_STATES)
  state: HoldState;

  /** Set by the database whenever the state changes. */
  @Column({ name: 'state_since', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  stateSince: Date;

  /** The request may use it: it is open, or AUTHORIZED by this one. */
  @Column({ name: 'is_needed', type: 'boolean' })
  @IsBoolean()
  isNeeded: boolean;

  /** A worker has recorded it. Until then the processor alone has told of it. */
  @Column({ name: 'is_answered', type: 'boolean' })
  @IsBoolean()
  isAnswered: boolean;

  /** What was captured, voided or given up, where somebody has said so. */
  @Column({ name: 'ended_amount_cents', type: 'bigint', nullable: true, transformer: safeInteger })
  @IsOptional()
  @IsInt()
  @Min(0)
  endedAmountCents: number | null;

  /** Who has told how it ended: a worker, a source such as `stripe`, or a person. */
  @Column({ name: 'ended_by', type: 'varchar', length: 255, nullable: true })
  @IsOptional()
  @Length(1, 255)
  endedBy: string | null;

  /** The person who has seen to it: it is on no list any more. */
  @Column({ name: 'closed_by', type: 'varchar', length: 255, nullable: true })
  @IsOptional()
  @Length(1, 255)
  closedBy: string | null;

  /** Voids that have failed since a person last asked for one. */
  @Column({ name: 'void_failures', type: 'integer', default: 0 })
  @HasDefault()
  @IsInt()
  @Min(0)
  voidFailures: number;

  /** The error code of the last one. */
  @Column({ name: 'last_void_error', type: 'varchar', length: 100, nullable: true })
  @IsOptional()
  @Length(1, 100)
  lastVoidError: string | null;

  /** When the next void is due, after one that has failed. */
  @Column({ name: 'next_void_at', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  nextVoidAt: Date | null;

  /** How often the sweeper has sent it on its way again, and when it last did. */
  @Column({ type: 'integer', default: 0 })
  @HasDefault()
  @IsInt()
  @Min(0)
  sweeps: number;

  @Column({ name: 'swept_at', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  sweptAt: Date | null;

  /** The number of the event that made it. */
  @Column({ name: 'first_event_sequence', type: 'integer' })
  @IsInt()
  @Min(1)
  firstEventSequence: number;

  /** The number of the last event about it. */
  @Column({ name: 'last_event_sequence', type: 'integer' })
  @IsInt()
  @Min(1)
  lastEventSequence: number;
}
