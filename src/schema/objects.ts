import { COMMENTS } from './comments';

const namesOf = <Name extends string>(comments: Readonly<Record<Name, unknown>>) => Object.keys(comments) as Name[];

/** The names of everything that the migrations make. Catalog, grants, checks and tests take them from here. */
export const OBJECTS = {
  tables: namesOf(COMMENTS.tables),
  sequences: namesOf(COMMENTS.sequences),
  /** Of triggers: those run whatever the privileges on them are. */
  functions: namesOf(COMMENTS.functions),
};

/** The history of migrations, which the migrator makes before the first of them. */
export const MIGRATIONS_TABLE = 'payment_events_db_migrations';

/** What the tables of the reporting database are in, and what the schemas of the views that it reads begin with. */
export const REPORTING_SCHEMA = 'payment_events_reporting';

/** Everything that a privilege can be on. */
export const GRANTED = {
  tables: [...OBJECTS.tables, MIGRATIONS_TABLE],
  sequences: [...OBJECTS.sequences, `${MIGRATIONS_TABLE}_id_seq`],
  functions: OBJECTS.functions,
};
