import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { type CommentChanges, putComments, takeBackComments } from './helpers/comments';

/**
 * Says of processors and data_keys and everything on them, and of what configurations have more now, what it is there for.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on those, in one transaction, for some milliseconds: it stops no reads or writes.
 * Services of the version before keep working. Re-runnable. A comment that an owner has written stays, up and down.
 * Down brings back the comments that were there before.
 */
export class CommentOnConfigs1795824869411 implements MigrationInterface {
  name = 'CommentOnConfigs1795824869411';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await putComments(queryRunner, COMMENTS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await takeBackComments(queryRunner, COMMENTS);
  }
}

/** As src/schema/comments.ts had them when this was written. */
const COMMENTS: CommentChanges = {
  restaurant_payment_configs: {
    'TABLE restaurant_payment_configs': [
      "One version of how a restaurant's payments are processed. It never changes but for being switched off, once, and for having its secrets sealed, so that an attempt under it can be explained years later.",
      "One version of how a restaurant's payments are processed. It never changes but for being switched on or off, so that an attempt under it can be explained years later.",
    ],
    'COLUMN restaurant_payment_configs.processor_name': [
      'Its processor, a row of processors; mock is for tests.',
      'One of the processors that check_processor names; mock is for tests.',
    ],
    'COLUMN restaurant_payment_configs.processor_config': [
      "JSON object of settings that the processor's client needs. Versions of legacy services hold its API key as well, until they are sealed: secret, for workers and those who manage configurations alone to read.",
      "JSON object that the processor's client needs. Holds its API key: secret, for workers alone to read.",
    ],
    'COLUMN restaurant_payment_configs.is_active': [
      'New attempts use this version. At most one of a restaurant is active. Once false, false for good.',
      'New attempts use this version. At most one of a restaurant is active.',
    ],
    'COLUMN restaurant_payment_configs.updated_at': [
      'When it was switched off; until then when it was made. Set by the guard.',
      'When it was last switched on or off. Set by the guard.',
    ],
    'COLUMN restaurant_payment_configs.sealed_secrets':
      'Its secrets, encrypted: a byte for the format, the 16 bytes of data_key_id, and what belongs to the format. NULL where it has none, or has them in plain text. Bound to restaurant, version, processor, fields and settings: it opens nowhere else.',
    'COLUMN restaurant_payment_configs.sealed_fields': 'The names of the secrets in sealed_secrets.',
    'COLUMN restaurant_payment_configs.data_key_id':
      'The key that sealed_secrets is encrypted under: data_keys.data_key_id.',
    'COLUMN restaurant_payment_configs.switched_off_by':
      'Who switched it off. NULL on versions that are on, and that were switched off before this was asked.',
    'COLUMN restaurant_payment_configs.copy_of':
      'The version of the restaurant whose content this one has, where somebody has gone back to that.',
    'CONSTRAINT restaurant_payment_configs_copy_of_fkey ON restaurant_payment_configs':
      'A way back leads to a version that is there.',
    'CONSTRAINT restaurant_payment_configs_data_key_fkey ON restaurant_payment_configs':
      'A data key that is in use cannot go: nothing else opens what it sealed.',
    'CONSTRAINT restaurant_payment_configs_processor_fkey ON restaurant_payment_configs':
      'No client exists for a processor that nobody has described. Its secrets and settings are looked up there.',
    'CONSTRAINT restaurant_payment_configs_sealed_whole ON restaurant_payment_configs':
      'What is sealed says under which key and what it holds.',
    'TRIGGER guard_new_restaurant_payment_configs ON restaurant_payment_configs':
      'Refuses secrets among the settings, settings that the processor does not know, and whatever another rule of the table would refuse, in words that quote nothing of the row. Not ENABLE ALWAYS: a logical subscriber receives versions of legacy services.',
    'TRIGGER guard_restaurant_payment_configs ON restaurant_payment_configs': [
      'Refuses every change but to switch a version off, and to seal its secrets. ENABLE ALWAYS.',
      'Refuses every change but of is_active. ENABLE ALWAYS.',
    ],
    'FUNCTION guard_restaurant_payment_configs()': [
      'Keeps secrets out of the settings of a new configuration version. Keeps a version as it was inserted, but for being switched off by somebody and for having its secrets sealed, and sets updated_at.',
      'Keeps a configuration version as it was inserted, but for is_active, and sets updated_at.',
    ],
  },
  processors: {
    'TABLE processors':
      'One processor that restaurants can be configured for. stripe, chase, worldpay and mock come with the migrations; a team inserts its own.',
    'COLUMN processors.processor_name': 'Its name, as versions of configurations give it.',
    'COLUMN processors.secret_fields':
      'Names of its secrets. None may be among the settings of a configuration, at any depth.',
    'COLUMN processors.required_secret_fields': 'Those that a new configuration has to have.',
    'COLUMN processors.settings_schema':
      'JSON Schema of its settings: of an object without additional properties. The guard of configurations knows the names in properties; clients check the rest.',
    'COLUMN processors.created_at':
      'When it was inserted. Of those that come with the migrations: when they were described.',
    'CONSTRAINT processors_name_format ON processors': 'Names compare as texts, so there is one spelling.',
    'CONSTRAINT processors_pkey ON processors': 'A processor is there once.',
    'CONSTRAINT processors_required_known ON processors': 'What has to be there is one of the secrets.',
    'CONSTRAINT processors_secrets_named ON processors': 'A secret without a name could not be found among settings.',
    'CONSTRAINT processors_settings_closed ON processors':
      'Unknown settings are refused, so the schema names all. It would be of no use as another kind of schema.',
    'CONSTRAINT processors_settings_not_secret ON processors':
      'A secret that is a setting as well would be kept in plain text.',
  },
  data_keys: {
    'TABLE data_keys':
      'One key that secrets of configurations are sealed with, itself encrypted under a key that the database does not have. Shared by many versions.',
    'COLUMN data_keys.data_key_id': 'Its identity, which every ciphertext names. Never changes.',
    'COLUMN data_keys.key_encryption_key_id': 'The key that it is wrapped under, as its key provider names it.',
    'COLUMN data_keys.wrapped': 'The key, encrypted. Of no use without the key encryption key.',
    'COLUMN data_keys.created_at': 'When it was inserted. Never changes.',
    'COLUMN data_keys.rewrapped_at': 'When it was last wrapped under another key.',
    'CONSTRAINT data_keys_key_encryption_key_named ON data_keys':
      'A key that does not say what it is wrapped under cannot be unwrapped.',
    'CONSTRAINT data_keys_pkey ON data_keys': 'A key is there once.',
    'CONSTRAINT data_keys_wrapped_length ON data_keys': 'Nothing that long is a wrapped key, and nothing empty.',
    'TRIGGER guard_data_keys ON data_keys': 'Refuses a change of data_key_id and created_at. ENABLE ALWAYS.',
    'FUNCTION guard_data_keys()': 'Keeps what ciphertexts name: of a data key only that may change which wraps it.',
  },
};
