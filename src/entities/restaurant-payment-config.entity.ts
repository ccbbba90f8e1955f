import { IsArray, IsBoolean, IsDate, IsObject, IsOptional, Length } from 'class-validator';
import { Check, Column, ForeignKey, Index, PrimaryColumn } from 'typeorm';
import { HasDefault } from '../validation/row-rules';
import { Bytes, Uuid } from '../validation/rules';
import { DataKey } from './data-key.entity';
import { PaymentProcessor } from './payment-processor.entity';
import { Table } from './table';

/**
 * One version of how a restaurant's payments are processed. A version never changes but for being switched off, once, and
 * for having its secrets sealed; at most one of a restaurant is on.
 */
@Table('restaurant_payment_configs', 'RestaurantPaymentConfig')
@ForeignKey(() => PaymentProcessor, ['processorName'], ['processorName'], {
  name: 'restaurant_payment_configs_processor_fkey',
})
@ForeignKey(() => DataKey, ['dataKeyId'], ['dataKeyId'], { name: 'restaurant_payment_configs_data_key_fkey' })
@ForeignKey(() => RestaurantPaymentConfig, ['restaurantId', 'copyOf'], ['restaurantId', 'configVersion'], {
  name: 'restaurant_payment_configs_copy_of_fkey',
})
@Check(
  'restaurant_payment_configs_sealed_whole',
  `num_nulls(sealed_secrets, sealed_fields, data_key_id) = ANY ('{0,3}')`,
)
@Index('restaurant_payment_configs_one_active', ['restaurantId'], { unique: true, where: 'is_active' })
export class RestaurantPaymentConfig {
  @PrimaryColumn({
    name: 'restaurant_id',
    type: 'uuid',
    primaryKeyConstraintName: 'restaurant_payment_configs_pkey',
  })
  @Uuid()
  restaurantId: string;

  @PrimaryColumn({
    name: 'config_version',
    type: 'varchar',
    length: 50,
    primaryKeyConstraintName: 'restaurant_payment_configs_pkey',
  })
  @Length(1, 50)
  configVersion: string;

  /** One of the table `processors`. */
  @Column({ name: 'processor_name', type: 'varchar', length: 50 })
  @Length(1, 50)
  processorName: string;

  /** Settings of the processor's client. Versions of legacy services hold its API key as well: not for logs. */
  @Column({ name: 'processor_config', type: 'jsonb' })
  @IsObject()
  processorConfig: Record<string, unknown>;

  @Column({ name: 'is_active', type: 'boolean', default: true })
  @HasDefault()
  @IsBoolean()
  isActive: boolean;

  /** When it was switched off; until then when it was made. Set by the database. */
  @Column({ name: 'updated_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  updatedAt: Date;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  createdAt: Date;

  @Column({ name: 'created_by', type: 'varchar', length: 255, nullable: true })
  @IsOptional()
  @Length(1, 255)
  createdBy: string | null;

  /** Its secrets, encrypted under the data key. Null where it has none, or has them in plain text. */
  @Column({ name: 'sealed_secrets', type: 'bytea', nullable: true })
  @IsOptional()
  @Bytes()
  sealedSecrets: Buffer | null;

  /** The names of the secrets in there. */
  @Column({ name: 'sealed_fields', type: 'text', array: true, nullable: true })
  @IsOptional()
  @IsArray()
  sealedFields: string[] | null;

  @Column({ name: 'data_key_id', type: 'uuid', nullable: true })
  @IsOptional()
  @Uuid()
  dataKeyId: string | null;

  @Column({ name: 'switched_off_by', type: 'varchar', length: 255, nullable: true })
  @IsOptional()
  @Length(1, 255)
  switchedOffBy: string | null;

  /** The version whose content this one has, where somebody has gone back to that. */
  @Column({ name: 'copy_of', type: 'varchar', length: 50, nullable: true })
  @IsOptional()
  @Length(1, 50)
  copyOf: string | null;
}
