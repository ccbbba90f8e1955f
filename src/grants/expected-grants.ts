import { literals } from '../database/literals';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { PRIVILEGES, type Role, ROLES, WHOLE } from './privileges';
import { roleName, roleNames } from './role-name';

/** Which of our roles the server has. */
export async function existingRoles(database: Queryable, rolePrefix?: string): Promise<Role[]> {
  const rows = await query<{ rolname: string }>(
    database,
    sql`SELECT rolname FROM pg_roles WHERE rolname IN (${raw(literals(roleNames(rolePrefix)))})`,
  );
  return ROLES.filter((role) => rows.some(({ rolname }) => rolname === roleName(role, rolePrefix)));
}

/** What `readCatalog` says of a schema, with what it says more once these roles have their privileges. */
export function withGrants(catalog: string, roles: readonly Role[], rolePrefix?: string): string {
  // Tables and sequences come first, and what the body of a function says is no object.
  const [relations, ...functions] = catalog.split(/^(?=function )/m);
  const granted = relations!.replace(
    /^(?:table|sequence) (\w+).*\n(?: .*\n)*/gm,
    (lines, object: string) => lines + grantLines(object, roles, rolePrefix).join(''),
  );
  return granted + functions.join('');
}

/** In the order of `readCatalog`: those on the whole, then those on columns. */
function grantLines(object: string, roles: readonly Role[], rolePrefix?: string): string[] {
  const lines = roles.flatMap((role) => {
    const name = roleName(role, rolePrefix);
    return Object.entries(PRIVILEGES[role][object] ?? {}).flatMap(([privilege, columns]) =>
      columns === WHOLE
        ? { order: ` ${name}${privilege}`, line: `  grant ${privilege} to ${name}\n` }
        : columns.map((column) => ({
            order: `${column}${name}${privilege}`,
            line: `  grant ${privilege} on column ${column} to ${name}\n`,
          })),
    );
  });
  return lines.sort((a, b) => (a.order < b.order ? -1 : 1)).map(({ line }) => line);
}
