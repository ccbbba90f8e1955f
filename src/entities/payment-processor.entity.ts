import { ArrayUnique, IsArray, IsDate, IsObject, Matches } from 'class-validator';
import { Check, Column, PrimaryColumn } from 'typeorm';
import { HasDefault } from '../validation/row-rules';
import { Table } from './table';

/** A processor that restaurants can be configured for: its secrets, and the settings that it knows. One of your own is a row. */
@Table('processors', 'PaymentProcessor')
@Check('processors_name_format', `processor_name ~ '^[a-z][a-z0-9_]{0,49}$'`)
@Check('processors_secrets_named', 'array_position(secret_fields, NULL) IS NULL')
@Check('processors_required_known', 'required_secret_fields <@ secret_fields')
@Check(
  'processors_settings_closed',
  `settings_schema @> '{"type": "object", "additionalProperties": false, "properties": {}}'`,
)
@Check('processors_settings_not_secret', `NOT (settings_schema -> 'properties') ?| secret_fields`)
export class PaymentProcessor {
  @PrimaryColumn({
    name: 'processor_name',
    type: 'varchar',
    length: 50,
    primaryKeyConstraintName: 'processors_pkey',
  })
  @Matches(/^[a-z][a-z0-9_]{0,49}$/)
  processorName: string;

  /** Names of its secrets: none of them is ever among the settings of a configuration. */
  @Column({ name: 'secret_fields', type: 'text', array: true })
  @IsArray()
  @ArrayUnique()
  secretFields: string[];

  /** Secrets that a new configuration has to have. */
  @Column({ name: 'required_secret_fields', type: 'text', array: true, default: [] })
  @HasDefault()
  @IsArray()
  @ArrayUnique()
  requiredSecretFields: string[];

  /** JSON Schema of the settings: of an object, without additional properties. */
  @Column({ name: 'settings_schema', type: 'jsonb' })
  @IsObject()
  settingsSchema: Record<string, unknown>;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  @HasDefault()
  @IsDate()
  createdAt: Date;
}
