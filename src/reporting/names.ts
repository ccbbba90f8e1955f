import { type ResidueClass } from '../fence/residue';
import { DEFAULT_ROLE_PREFIX } from '../grants/role-name';
import { REPORTING_SCHEMA } from '../schema/objects';

/**
 * The schema of a database of payments that has the views of one class. The class is in the name, so that the views of two
 * classes can be there at once: foreign tables change from the old ones to the new in one step, and no report sees a
 * restaurant twice or not at all, also where the process dies half-way.
 */
export const schemaOfClass = ({ modulus, remainder }: ResidueClass): string =>
  `${REPORTING_SCHEMA}_${remainder}_of_${modulus}`;

/** The class in the name of a schema. */
export function classOfSchema(schema: string): ResidueClass | undefined {
  const [, remainder, modulus] = new RegExp(`^${REPORTING_SCHEMA}_(\\d+)_of_(\\d+)$`).exec(schema) ?? [];
  return modulus === undefined ? undefined : { modulus: Number(modulus), remainder: Number(remainder) };
}

/** As a condition of SQL: the schemas with our views. */
export const isOurSchema = (column: string): string => `${column} ~ '^${REPORTING_SCHEMA}_[0-9]+_of_[0-9]+$'`;

/** The group that may read the views, and at the reporting database the tables. */
export const reportingRole = (prefix: string = DEFAULT_ROLE_PREFIX): string => `${prefix}_reporting`;

/** The foreign server of a database: what errors name. */
export const SERVER_PREFIX = 'payment_events_shard_';
export const serverOf = (shard: string): string => `"${SERVER_PREFIX}${shard}"`;

/** The foreign table that has a database's part of a table. */
export const partitionOf = (view: string, shard: string): string => `"${view}_${shard}"`;

/** What the comment on the schema of the reporting database says before the version of the map that it was made by. */
export const VERSION_OF_MAP = 'Made by payment-events-db, by version ';
