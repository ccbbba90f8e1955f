import { IsDate, IsOptional, Length } from 'class-validator';
import { Check, Column, PrimaryColumn } from 'typeorm';
import { ByteLength, HasDefault } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';

/** A key that secrets of configurations are sealed with, itself encrypted under a key that the database does not have. */
@Table('data_keys', 'DataKey')
@Check('data_keys_key_encryption_key_named', `key_encryption_key_id <> ''`)
@Check('data_keys_wrapped_length', 'octet_length(wrapped) BETWEEN 1 AND 10000')
export class DataKey {
  @PrimaryColumn({ name: 'data_key_id', type: 'uuid', primaryKeyConstraintName: 'data_keys_pkey' })
  @Uuid()
  dataKeyId: string;

  /** The key that it is wrapped under, as its key provider names it. */
  @Column({ name: 'key_encryption_key_id', type: 'varchar', length: 2048 })
  @Length(1, 2048)
  keyEncryptionKeyId: string;

  /** 1 to 10,000 bytes. */
  @Column({ type: 'bytea' })
  @ByteLength(1, 10_000)
  wrapped: Buffer;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  createdAt: Date;

  /** When it was last wrapped under another key. */
  @Column({ name: 'rewrapped_at', type: 'timestamptz', nullable: true })
  @IsOptional()
  @IsDate()
  rewrappedAt: Date | null;
}
