import { IsBoolean, IsDate, IsIn, IsObject, IsOptional, Length } from 'class-validator';
import { Check, Column, Index, PrimaryColumn } from 'typeorm';
import { HasDefault } from '../validation/row-rules';
import { Uuid } from '../validation/rules';
import { Table } from './table';

/** The processors a restaurant can be configured for. */
export const PROCESSORS = ['stripe', 'chase', 'worldpay', 'mock'] as const;

/** One of {@link PROCESSORS}. */
export type Processor = (typeof PROCESSORS)[number];

/**
 * One version of how a restaurant's payments are processed. A version never changes but for being switched on or off,
 * and at most one of a restaurant is on.
 */
@Table('restaurant_payment_configs', 'RestaurantPaymentConfig')
@Check('check_processor', `processor_name IN ('stripe', 'chase', 'worldpay', 'mock')`)
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

  @Column({ name: 'processor_name', type: 'varchar', length: 50 })
  @IsIn(PROCESSORS)
  processorName: Processor;

  /** What the processor's client needs. Holds its API key: not for logs. */
  @Column({ name: 'processor_config', type: 'jsonb' })
  @IsObject()
  processorConfig: Record<string, unknown>;

  @Column({ name: 'is_active', type: 'boolean', default: true })
  @HasDefault()
  @IsBoolean()
  isActive: boolean;

  /** When it was last switched on or off. Set by the database. */
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
}
