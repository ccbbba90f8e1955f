import {
  IsBoolean,
  IsDate,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  Min,
  ValidateIf,
} from 'class-validator';
import { Check, Column, Index, PrimaryColumn } from 'typeorm';
import { AUTH_REQUEST_STATUSES, type AuthRequestStatus, isSettled } from '../auth-requests/statuses';
import { HasDefault, NotMoreThan } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';
import { position, safeInteger } from './transformers';

const isAuthorized = ({ status }: AuthRequestState) => status === 'AUTHORIZED';

/** What one authorization request is now: the fold of its events, kept up to date in the same statement. */
@Table('auth_request_state', 'AuthRequestState')
@Check('check_status', `status::text = ANY ('{PENDING,PROCESSING,AUTHORIZED,DENIED,FAILED,VOIDED,EXPIRED}'::text[])`)
@Check('auth_request_state_amount_positive', 'amount_cents > 0')
@Check('auth_request_state_authorized_amount_within', 'authorized_amount_cents BETWEEN 1 AND amount_cents')
@Check('auth_request_state_currency_iso', `currency ~ '^[A-Z]{3}$'`)
@Check(
  'auth_request_state_authorized_complete',
  `status <> 'AUTHORIZED' OR (processor_auth_id IS NOT NULL AND authorized_amount_cents IS NOT NULL)`,
)
@Check(
  'auth_request_state_settled_completed',
  `completed_at IS NOT NULL OR status::text = ANY ('{PENDING,PROCESSING}'::text[])`,
)
@Check(
  'auth_request_state_attempts_consistent',
  `attempt_open = (attempt_unanswered OR unanswered_versions <> '{}') AND attempt_open = (unanswered_since IS NOT NULL) AND (attempt_version IS NOT NULL OR NOT attempt_unanswered) AND array_position(unanswered_versions, NULL) IS NULL`,
)
@Index('idx_restaurant_created', ['restaurantId', 'createdAt'])
@Index('idx_payment_token', ['paymentToken'])
@Index('idx_auth_request_state_created_at', { synchronize: false })
export class AuthRequestState {
  /** A UUIDv7; legacy ones are v4. */
  @PrimaryColumn({ name: 'auth_request_id', type: 'uuid', primaryKeyConstraintName: 'auth_request_state_pkey' })
  @Uuid()
  authRequestId: string;

  @Column({ name: 'restaurant_id', type: 'uuid' })
  @Uuid()
  restaurantId: string;

  /** Stands for the card. Not for logs. */
  @Column({ name: 'payment_token', type: 'varchar', length: 64 })
  @Length(1, 64)
  paymentToken: string;

  @Column({ type: 'varchar', length: 20 })
  @IsIn(AUTH_REQUEST_STATUSES)
  status: AuthRequestStatus;

  /** What was asked for, in the currency's minor unit. */
  @Column({ name: 'amount_cents', type: 'bigint', transformer: safeInteger })
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  amountCents: number;

  /** ISO 4217, upper case. */
  @Column({ type: 'varchar', length: 3 })
  @Matches(/^[A-Z]{3}$/)
  currency: string;

  @Column({ name: 'processor_auth_id', type: 'varchar', length: 255, nullable: true })
  @ValidateIf((state: AuthRequestState) => isAuthorized(state) || state.processorAuthId != null)
  @Length(1, 255)
  processorAuthId: string | null;

  @Column({ name: 'processor_name', type: 'varchar', length: 50, nullable: true })
  @IsOptional()
  @Length(0, 50)
  processorName: string | null;

  /** What the processor granted: at most what was asked for. */
  @Column({ name: 'authorized_amount_cents', type: 'bigint', nullable: true, transformer: safeInteger })
  @ValidateIf((state: AuthRequestState) => isAuthorized(state) || state.authorizedAmountCents != null)
  @IsInt()
  @Min(1)
  @NotMoreThan('amountCents')
  authorizedAmountCents: number | null;

  @Column({ name: 'authorization_code', type: 'varchar', length: 100, nullable: true })
  @IsOptional()
  @Length(0, 100)
  authorizationCode: string | null;

  @Column({ name: 'denial_code', type: 'varchar', length: 50, nullable: true })
  @IsOptional()
  @Length(0, 50)
  denialCode: string | null;

  @Column({ name: 'denial_reason', type: 'text', nullable: true })
  denialReason: string | null;

  @Column({ name: 'created_at', type: 'timestamptz' })
  @IsDate()
  createdAt: Date;

  /** Set by the database at every change. */
  @Column({ name: 'updated_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  updatedAt: Date;

  /** When it was first settled. */
  @Column({ name: 'completed_at', type: 'timestamptz', nullable: true })
  @ValidateIf((state: AuthRequestState) => isSettled(state.status) || state.completedAt != null)
  @IsDate()
  completedAt: Date | null;

  /** What the restaurant sent along. Nothing personal, no card data. */
  @Column({ type: 'jsonb', default: {}, nullable: true })
  metadata: Record<string, unknown> | null;

  /** The number of its last event. */
  @Column({ name: 'last_event_sequence', type: 'integer', default: 0 })
  @HasDefault()
  @IsInt()
  @Min(0)
  lastEventSequence: number;

  @Column({ name: 'last_event_id', type: 'uuid', nullable: true })
  @IsOptional()
  @Uuid()
  lastEventId: string | null;

  /** Someone may have asked the processor, and nobody has recorded the answer: money may be held. */
  @Column({ name: 'attempt_open', type: 'boolean', default: false })
  @HasDefault()
  @IsBoolean()
  attemptOpen: boolean;

  /** The current attempt: the number of the last AuthAttemptStarted. Null before the first, and where legacy events tell. */
  @Column({ type: 'integer', nullable: true })
  @IsOptional()
  @IsInt()
  @Min(1)
  attempt: number | null;

  /** The version of the configuration that the current attempt goes by; empty for an attempt of a legacy service. */
  @Column({ name: 'attempt_version', type: 'varchar', length: 50, nullable: true })
  @IsOptional()
  @Length(0, 50)
  attemptVersion: string | null;

  /** The fencing token that the current attempt was started under. */
  @Column({ name: 'attempt_token', type: 'bigint', nullable: true, transformer: position })
  attemptToken: bigint | null;

  /** The current attempt is open: nobody has recorded an answer to it, or that the processor was not asked. */
  @Column({ name: 'attempt_unanswered', type: 'boolean', default: false })
  @HasDefault()
  @IsBoolean()
  attemptUnanswered: boolean;

  /** The versions under which earlier attempts are open, the oldest first. */
  @Column({ name: 'unanswered_versions', type: 'text', array: true, default: [] })
  @HasDefault()
  @IsString({ each: true })
  unansweredVersions: string[];

  /** Since when something has been open without a break. */
  @Column({ name: 'unanswered_since', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  unansweredSince: Date | null;

  /** Attempts that failed and were to be tried again. */
  @Column({ name: 'retry_count', type: 'integer', default: 0 })
  @HasDefault()
  @IsInt()
  @Min(0)
  retryCount: number;

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
}
