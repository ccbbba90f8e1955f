import { GRANTED } from '../schema/objects';
import { type Grant, PRIVILEGES, type Role, ROLES, WHOLE } from './privileges';
import { roleName, roleNames } from './role-name';

/** Where to grant, each name in quotes where it needs them. */
export interface Place {
  readonly database: string;
  readonly schema: string;
}

/**
 * All of it, as one transaction that can be run again at any time, by hand as well: makes the roles that are missing,
 * takes from them and from PUBLIC what they have on our objects, and grants what {@link PRIVILEGES} says. Other sessions
 * see the outcome alone. It waits for nobody but DDL, and nobody waits for it.
 *
 * CONNECT stays PUBLIC's: who may log in is the business of pg_hba.conf, and of monitoring and backups too.
 *
 * @throws ConfigurationError
 */
export function grantsSql({ database, schema }: Place, rolePrefix?: string): string {
  const roles = roleNames(rolePrefix).join(', ');
  return `-- What the roles of payment-events-db may do. The owner of the database runs it, again after every migration and
-- every restore.
BEGIN;
SET LOCAL search_path = ${schema};

${ROLES.map((role) => roleCreation(roleName(role, rolePrefix))).join('\n')}

-- Revoke everything first, also from those to whom they granted it. PUBLIC keeps CONNECT.
REVOKE ALL ON DATABASE ${database} FROM ${roles} CASCADE;
REVOKE TEMPORARY, CREATE ON DATABASE ${database} FROM PUBLIC CASCADE;
REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC, ${roles} CASCADE;
REVOKE ALL ON ${GRANTED.tables.join(', ')}
  FROM PUBLIC, ${roles} CASCADE;
REVOKE ALL ON SEQUENCE ${GRANTED.sequences.join(', ')}
  FROM PUBLIC, ${roles} CASCADE;
REVOKE ALL ON FUNCTION ${GRANTED.functions.map((name) => `${name}()`).join(', ')}
  FROM PUBLIC, ${roles} CASCADE;

GRANT CONNECT ON DATABASE ${database} TO ${roles};
GRANT USAGE ON SCHEMA ${schema} TO ${roles};

${ROLES.map((role) => grantsOf(role, roleName(role, rolePrefix))).join('\n\n')}

COMMIT;
`;
}

/** CREATE ROLE is refused to a user who may not create roles, even where the role exists. */
export const roleCreation = (name: string): string => `DO $$
BEGIN
  IF to_regrole('${name}') IS NULL THEN
    CREATE ROLE ${name} NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- Another database of this server has just made it.
END $$;`;

const grantsOf = (role: Role, name: string) =>
  Object.entries(PRIVILEGES[role])
    .map(
      ([object, grant]) =>
        `GRANT ${privileges(grant)}\n  ON ${'USAGE' in grant ? 'SEQUENCE ' : ''}${object} TO ${name};`,
    )
    .join('\n');

const privileges = (grant: Grant) =>
  Object.entries(grant)
    .map(([privilege, columns]) => (columns === WHOLE ? privilege : `${privilege} (${columns.join(', ')})`))
    .join(',\n  ');
