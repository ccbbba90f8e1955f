import { getMetadataArgsStorage } from 'typeorm';
import { entities } from '../entities';

const { tables, columns } = getMetadataArgsStorage();

/**
 * The names of everything that the migrations make: tables and their identities as the entities say. Catalog, grants,
 * checks and tests take them from here.
 */
export const OBJECTS = {
  tables: entities.map(tableOf),
  sequences: [
    ...entities.flatMap((entity) =>
      columns
        .filter(({ target, options }) => target === entity && options.generatedIdentity)
        .map(({ propertyName }) => `${tableOf(entity)}_${propertyName}_seq`),
    ),
    'auth_processing_fencing_tokens',
  ],
  /** Of triggers: those run whatever the privileges on them are. */
  functions: [
    'guard_auth_request_state',
    'guard_restaurant_payment_configs',
    'refuse_payment_events_change',
    'refuse_payment_events_gap',
  ],
};

function tableOf(entity: (typeof entities)[number]): string {
  return tables.find(({ target }) => target === entity)!.name!;
}

/** The history of migrations, which the migrator makes before the first of them. */
export const MIGRATIONS_TABLE = 'payment_events_db_migrations';

/** Everything that a privilege can be on. */
export const GRANTED = {
  tables: [...OBJECTS.tables, MIGRATIONS_TABLE],
  sequences: [...OBJECTS.sequences, `${MIGRATIONS_TABLE}_id_seq`],
  functions: OBJECTS.functions,
};
