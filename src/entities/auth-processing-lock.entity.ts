import { IsDate, Length } from 'class-validator';
import { Check, Column, PrimaryColumn } from 'typeorm';
import { HasDefault, LaterThan } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';
import { position } from './transformers';

/** One worker's lease on one authorization request. Gone when it is released; anybody's once it has expired. */
@Table('auth_processing_locks', 'AuthProcessingLock')
@Check('check_expires_after_locked', 'expires_at > locked_at')
export class AuthProcessingLock {
  @PrimaryColumn({ name: 'auth_request_id', type: 'uuid', primaryKeyConstraintName: 'auth_processing_locks_pkey' })
  @Uuid()
  authRequestId: string;

  @Column({ name: 'worker_id', type: 'varchar', length: 255 })
  @Length(1, 255)
  workerId: string;

  @Column({ name: 'locked_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  lockedAt: Date;

  @Column({ name: 'expires_at', type: 'timestamptz', default: () => `(now() + '00:00:30')` })
  @HasDefault()
  @IsDate()
  @LaterThan('lockedAt')
  expiresAt: Date;

  @Column({ name: 'restaurant_id', type: 'uuid' })
  @Uuid()
  restaurantId: string;

  /** Drawn at every acquisition and never again: who has it holds the lease. Compared for equality, never for order. */
  @Column({
    name: 'fencing_token',
    type: 'bigint',
    default: () => `nextval('auth_processing_fencing_tokens')`,
    transformer: position,
  })
  fencingToken: bigint;
}
