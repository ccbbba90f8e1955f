import { lookAgain } from '../database/look-again';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { type ResidueClass } from '../fence/residue';
import { type Drift } from '../schema/compare-catalogs';
import { classOfSchema, isOurSchema, reportingRole } from './names';
import { queryOf, REPORTING_VIEWS, type ReportingView } from './views';

/** The views of one class that a database has, and how they differ from what `reporting renew` makes. */
export interface FoundViews {
  readonly schema: string;
  readonly shard: ResidueClass;
  /** Relations that are there and are not as they were made, with their schema. */
  readonly unsound: readonly string[];
  /** Nothing where all are there and as they were made. */
  readonly drift: readonly Drift[];
}

interface Row {
  readonly schema: string;
  readonly name: string | null;
  readonly kind: string | null;
  /** Of a view; null too where it was dropped after the snapshot of the query. */
  readonly definition: string | null;
  /** Has options, such as security_invoker, or another owner than the tables. */
  readonly odd: string | null;
  /** `SELECT to payment_events_reporting`; of the schema and the view. */
  readonly grants: string[];
}

/**
 * pg_get_viewdef opens the view, and fails where it was dropped after the snapshot of the query. pg_relation_size opens it too, for
 * which it waits until a renewal has ended, and is null then.
 */
const RELATIONS = sql`
  SELECT nspname AS schema, relname AS name, relkind::text AS kind,
    CASE WHEN relkind = 'v' AND pg_relation_size(pg_class.oid) IS NOT NULL THEN pg_get_viewdef(pg_class.oid) END AS definition,
    nullif(concat_ws(', ', array_to_string(reloptions, ', '),
      CASE WHEN relowner <> (SELECT relowner FROM pg_class WHERE oid = to_regclass('payment_events'))
        THEN 'owned by ' || pg_get_userbyid(relowner) END), '') AS odd,
    ARRAY(SELECT concat(privilege_type, ' to ', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END)
      FROM aclexplode(relacl) WHERE grantee <> relowner
      UNION ALL
      SELECT concat(privilege_type, ' on column ', attname, ' to ',
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END)
      FROM pg_attribute CROSS JOIN LATERAL aclexplode(attacl) WHERE attrelid = pg_class.oid AND grantee <> relowner
      ORDER BY 1) AS grants
  FROM pg_namespace LEFT JOIN pg_class ON relnamespace = pg_namespace.oid AND relkind NOT IN ('i', 't')
  WHERE ${raw(isOurSchema('nspname'))}
  ORDER BY nspname, relname`;

/** Reads catalogs only. For a session that finds the package's tables without their schema. */
export async function inspectViews(session: Queryable, rolePrefix?: string): Promise<FoundViews[]> {
  const rows = await lookAgain(
    () => query<Row>(session, RELATIONS),
    (all) => all.every(({ kind, definition }) => kind !== 'v' || definition !== null),
  );
  return [...new Set(rows.map(({ schema }) => schema))].map((schema) => {
    const shard = classOfSchema(schema)!;
    const own = rows.filter((row) => row.schema === schema && row.name !== null);
    const found = own.map((row) => ({ name: `${schema}.${row.name}`, drift: driftOf(row, shard, rolePrefix) }));
    const missing = REPORTING_VIEWS.filter(({ name }) => !own.some((row) => row.name === name)).map(({ name }) =>
      drifting('missing', `view ${schema}.${name}`, 'is there', null),
    );
    return {
      ...{ schema, shard },
      unsound: found.filter(({ drift }) => !drift.every(isOfPrivileges)).map(({ name }) => name),
      drift: [...found.flatMap(({ drift }) => drift), ...missing],
    };
  });
}

const REMEDY = 'npx payment-events-db reporting renew';
const drifting = (kind: Drift['kind'], object: string, expected: string | null, actual: string | null): Drift => ({
  ...{ kind, object, expected, actual },
  remedy: REMEDY,
});
const isOfPrivileges = ({ object }: Drift) => object.includes(': grant ');

function driftOf(row: Row, shard: ResidueClass, rolePrefix: string | undefined): Drift[] {
  const object = `view ${row.schema}.${row.name}`;
  const view = REPORTING_VIEWS.find(({ name }) => name === row.name);
  if (!view || row.definition === null)
    return [drifting('unexpected', object.replace('view', 'relation'), null, 'is there')];
  const expected = queryOf(view, shard, '').replace('FROM .', 'FROM ');
  const wanted = `SELECT to ${reportingRole(rolePrefix)}`;
  return [
    ...(meaningOf(view, expected) === meaningOf(view, row.definition)
      ? []
      : [drifting('different', object, expected, row.definition.trim())]),
    ...(row.odd === null ? [] : [drifting('different', `${object}: options`, null, row.odd)]),
    ...row.grants
      .filter((grant) => grant !== wanted)
      .map((grant) => drifting('unexpected', `${object}: grant ${grant}`, null, `grant ${grant}`)),
    ...(row.grants.includes(wanted)
      ? []
      : [drifting('missing', `${object}: grant ${wanted}`, `grant ${wanted}`, null)]),
  ];
}

/**
 * A query without what PostgreSQL adds when it prints one: parentheses, casts of constants, and before version 16 the
 * table before each column.
 */
const meaningOf = ({ table }: ReportingView, text: string) =>
  text
    .replaceAll(`${table}.`, '')
    .replace(/::(?:bigint|text)\b/g, '')
    .replace(/['()\s;]/g, '');
