import { IsDate, IsOptional, Length } from 'class-validator';
import { Check, Column, Index, PrimaryColumn } from 'typeorm';
import { ByteLength, HasDefault, LaterThan } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';

/** One request that a restaurant may send twice, by the key it chose: what the key stood for, and what came of it. */
@Table('auth_idempotency_keys', 'AuthIdempotencyKey')
@Check('auth_idempotency_keys_key_present', `idempotency_key <> ''`)
@Check('auth_idempotency_keys_expires_after_created', 'expires_at > created_at')
@Check('auth_idempotency_keys_operation_present', `operation <> ''`)
@Check('auth_idempotency_keys_fingerprint_sha256', 'octet_length(request_fingerprint) = 32')
@Index('idx_idempotency_expires', ['expiresAt'])
export class AuthIdempotencyKey {
  @PrimaryColumn({
    name: 'idempotency_key',
    type: 'varchar',
    length: 255,
    primaryKeyConstraintName: 'auth_idempotency_keys_pkey',
  })
  @Length(1, 255)
  idempotencyKey: string;

  @PrimaryColumn({ name: 'restaurant_id', type: 'uuid', primaryKeyConstraintName: 'auth_idempotency_keys_pkey' })
  @Uuid()
  restaurantId: string;

  /** The request it made or acted on. */
  @Column({ name: 'auth_request_id', type: 'uuid' })
  @Uuid()
  authRequestId: string;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  createdAt: Date;

  /** From then on another request may take the key over. */
  @Column({ name: 'expires_at', type: 'timestamptz', default: () => `(now() + '24:00:00')` })
  @HasDefault()
  @IsDate()
  @LaterThan('createdAt')
  expiresAt: Date;

  /** `authorize`, `void`, or one of a service's own. */
  @Column({ type: 'varchar', length: 20, default: 'authorize' })
  @HasDefault()
  @Length(1, 20)
  operation: string;

  /** What the operation answered, where its request alone does not tell. */
  @Column({ type: 'varchar', length: 20, nullable: true })
  @IsOptional()
  @Length(0, 20)
  outcome: string | null;

  /** SHA-256 of the canonical request. Null on legacy rows: not compared. */
  @Column({ name: 'request_fingerprint', type: 'bytea', nullable: true })
  @IsOptional()
  @ByteLength(32)
  requestFingerprint: Buffer | null;
}
