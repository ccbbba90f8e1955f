import { ROLES } from '../grants/privileges';
import { roleNames } from '../grants/role-name';
import { GRANTED, MIGRATIONS_TABLE } from '../schema/objects';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { type Drift } from '../schema/compare-catalogs';

/** Something beside the tables that gives somebody more than the privileges on them say. */
interface Exposure {
  readonly kind: Drift['kind'];
  readonly object: string;
  readonly expected: string | null;
  readonly actual: string | null;
  readonly remedy: string;
}

/** What a service reads that nobody else is to read, and that a publication would hand on. */
const SECRETS = [
  'payment_events.event_data',
  'payment_events.metadata',
  'auth_request_state.payment_token',
  'outbox.payload',
  'auth_idempotency_keys.idempotency_key',
  'restaurant_payment_configs.processor_config',
  'restaurant_payment_configs.sealed_secrets',
  'data_keys.wrapped',
];

/** Position among the groups, all of which but the last write. */
const WRITING_GROUPS = ROLES.filter((role) => role !== 'readonly').length;

/**
 * A role counts as writing where it may write one of our tables: as the owner, as a superuser or by SET ROLE.
 * Memberships that PostgreSQL 16 gives to the creator of a role, for ADMIN alone, are none of these; 15 has no such columns.
 */
const exposuresTo = (groups: string[]) => sql`
  WITH RECURSIVE ours AS (
    SELECT oid, relname, relowner, relacl
    FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname = ANY (${GRANTED.tables})
  ), owner AS (
    SELECT relowner AS id, quote_ident(pg_get_userbyid(relowner)) AS name FROM ours WHERE relname = 'payment_events'
  ), here AS (
    SELECT oid, datdba, quote_ident(datname) AS name, coalesce(datacl, acldefault('d', datdba)) AS acl
    FROM pg_database WHERE datname = current_database()
  ), schema AS (
    SELECT nspowner, oid, quote_ident(nspname) AS name, coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace WHERE nspname = current_schema()
  ), groups AS (
    SELECT pg_roles.oid, quote_ident(rolname) AS name, ordinality <= ${raw(WRITING_GROUPS)} AS writes
    FROM unnest(${groups}::text[]) WITH ORDINALITY AS wanted (name, ordinality) JOIN pg_roles ON rolname = wanted.name
  ), used_memberships AS (
    SELECT roleid, member FROM pg_auth_members AS membership
    WHERE coalesce((to_jsonb(membership) ->> 'inherit_option')::boolean, true)
       OR coalesce((to_jsonb(membership) ->> 'set_option')::boolean, true)
  ), members AS (
    SELECT member AS id, groups.name AS of_group FROM used_memberships JOIN groups ON groups.oid = roleid
    UNION
    SELECT member, of_group FROM used_memberships JOIN members ON members.id = roleid
  ), roles AS (
    SELECT pg_roles.*, quote_ident(rolname) AS name,
      (SELECT string_agg(DISTINCT of_group, ', ' ORDER BY of_group) FROM members WHERE id = pg_roles.oid) AS of_groups,
      (SELECT string_agg(quote_ident(pg_get_userbyid(roleid)), ', ' ORDER BY roleid) FROM used_memberships
       WHERE member = pg_roles.oid) AS member_of,
      (SELECT string_agg(quote_ident(pg_get_userbyid(power)), ', ' ORDER BY power)
       FROM unnest(ARRAY(SELECT id FROM owner) || ARRAY(SELECT oid FROM pg_roles AS powers WHERE powers.rolname IN (
         'pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program', 'pg_read_server_files',
         'pg_write_server_files'))) AS power
       WHERE NOT rolsuper AND pg_has_role(pg_roles.oid, power, 'MEMBER')) AS powers,
      array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
        CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes,
      EXISTS (SELECT FROM ours WHERE has_any_column_privilege(pg_roles.oid, ours.oid, 'INSERT, UPDATE')
                OR has_table_privilege(pg_roles.oid, ours.oid, 'DELETE, TRUNCATE'))
        OR EXISTS (SELECT FROM groups WHERE groups.writes AND pg_has_role(pg_roles.oid, groups.oid, 'MEMBER')) AS writes
    FROM pg_roles
  ), settings AS (
    SELECT setrole, setdatabase, split_part(setting, '=', 1) AS name, substr(setting, strpos(setting, '=') + 1) AS value
    FROM pg_db_role_setting CROSS JOIN LATERAL unnest(setconfig) AS setting
    WHERE setdatabase IN (0, (SELECT oid FROM here))
      AND (setrole = 0 OR setrole IN (SELECT oid FROM roles WHERE writes))
    UNION ALL
    SELECT NULL, NULL, name, setting FROM pg_settings
    WHERE source NOT IN ('default', 'database', 'user', 'database user', 'global', 'client', 'session', 'override')
      AND name IN ('session_replication_role', 'default_transaction_read_only')
  ), exposures (place, kind, object, expected, actual, remedy) AS (
    SELECT 1, 'unexpected', format('%s: setting %s', holder, name), NULL, format('%s = %s', name, value),
      format('%s RESET %s', statement, name)
    FROM settings
    CROSS JOIN LATERAL (
      SELECT quote_ident(pg_get_userbyid(setrole)) AS role,
        (SELECT here.name FROM here) AS database
    ) AS names
    CROSS JOIN LATERAL (
      SELECT CASE
          WHEN setrole IS NULL THEN 'server'
          WHEN setrole = 0 AND setdatabase = 0 THEN 'every role'
          WHEN setrole = 0 THEN 'database ' || database
          WHEN setdatabase = 0 THEN 'role ' || role
          ELSE format('role %s in database %s', role, database) END AS holder,
        CASE
          WHEN setrole IS NULL THEN 'ALTER SYSTEM'
          WHEN setrole = 0 AND setdatabase = 0 THEN 'ALTER ROLE ALL'
          WHEN setrole = 0 THEN 'ALTER DATABASE ' || database
          WHEN setdatabase = 0 THEN 'ALTER ROLE ' || role
          ELSE format('ALTER ROLE %s IN DATABASE %s', role, database) END AS statement
    ) AS said
    WHERE name = 'session_replication_role' AND value <> 'origin'
       OR name = 'default_transaction_read_only' AND value::boolean
       OR name = 'synchronous_commit' AND lower(value) IN ('off', 'false', 'no', '0', 'local')
       OR name = 'role' AND value <> 'none'

    UNION ALL
    SELECT 2, 'unexpected', format('parameter %s: grant %s to %s', parname, privilege_type, grantee_name), NULL,
      format('grant %s to %s', privilege_type, grantee_name),
      format('REVOKE %s ON PARAMETER %s FROM %s', privilege_type, parname, grantee_name)
    FROM pg_parameter_acl
    CROSS JOIN LATERAL aclexplode(paracl) AS acl
    LEFT JOIN roles ON roles.oid = acl.grantee
    CROSS JOIN LATERAL (SELECT coalesce(roles.name, 'PUBLIC')) AS named (grantee_name)
    WHERE parname = 'session_replication_role' AND (acl.grantee = 0 OR roles.writes AND NOT roles.rolsuper)

    UNION ALL
    SELECT 3, 'different', 'role ' || roles.name, 'a group without a login',
      array_to_string(array_remove(ARRAY[CASE WHEN rolcanlogin THEN 'LOGIN' END] || attributes
        || ('member of ' || member_of), NULL), ', '),
      concat_ws('; ',
        'ALTER ROLE ' || roles.name || ' '
          || nullif(array_to_string(ARRAY(SELECT 'NO' || attribute FROM unnest(
               array_remove(ARRAY[CASE WHEN rolcanlogin THEN 'LOGIN' END] || attributes, NULL)) AS attribute), ' '), ''),
        'REVOKE ' || member_of || ' FROM ' || roles.name)
    FROM roles JOIN groups USING (oid)
    WHERE rolcanlogin OR cardinality(attributes) > 0 OR member_of IS NOT NULL

    UNION ALL
    SELECT 4, 'different', 'role ' || name, 'a member of ' || of_groups || ' and no more',
      array_to_string(array_remove(attributes || ('member of ' || powers), NULL), ', '),
      'Services and people get a login of their own, with nothing but its groups.'
    FROM roles
    WHERE of_groups IS NOT NULL AND oid NOT IN (SELECT id FROM owner) AND oid NOT IN (SELECT oid FROM groups)
      AND (attributes && ARRAY['SUPERUSER', 'CREATEROLE', 'REPLICATION', 'BYPASSRLS'] OR powers IS NOT NULL)

    UNION ALL
    SELECT 5, 'unexpected', format('%s %s: grant CREATE to %s', word, name, grantee_name), NULL,
      format('grant CREATE to %s', grantee_name), format('REVOKE CREATE ON %s %s FROM %s', upper(word), name, grantee_name)
    FROM (
      SELECT 'schema' AS word, name, acl, nspowner AS holder FROM schema
      UNION ALL SELECT 'database', name, acl, datdba FROM here
    ) AS places
    CROSS JOIN LATERAL aclexplode(acl) AS entry
    CROSS JOIN LATERAL (
      SELECT CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(entry.grantee)) END
    ) AS named (grantee_name)
    WHERE privilege_type = 'CREATE' AND entry.grantee <> holder AND entry.grantee NOT IN (SELECT id FROM owner)

    UNION ALL
    SELECT 6, 'missing', format('%s: grant %s to %s', object, privilege, groups.name), format('grant %s to %s', privilege, groups.name),
      NULL, 'npx payment-events-db grants'
    FROM groups
    CROSS JOIN LATERAL (
      SELECT 'schema ' || name AS object, 'USAGE' AS privilege FROM schema
      WHERE NOT has_schema_privilege(groups.oid, schema.oid, 'USAGE')
      UNION ALL
      SELECT 'database ' || name, 'CONNECT' FROM here WHERE NOT has_database_privilege(groups.oid, here.oid, 'CONNECT')
      UNION ALL
      SELECT 'table ' || relname, 'SELECT' FROM ours
      WHERE relname = ${MIGRATIONS_TABLE} AND NOT has_table_privilege(groups.oid, ours.oid, 'SELECT')
    ) AS needed

    UNION ALL
    SELECT 7, 'unexpected', format('table %s: grant %s to %s', relname, privilege_type, grantee_name), NULL,
      format('grant %s to %s', privilege_type, grantee_name), format('REVOKE %s ON %s FROM %s', privilege_type, relname, grantee_name)
    FROM ours
    CROSS JOIN LATERAL aclexplode(relacl) AS acl
    CROSS JOIN LATERAL (
      SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
    ) AS named (grantee_name)
    WHERE relname = ${MIGRATIONS_TABLE} AND privilege_type <> 'SELECT' AND acl.grantee <> relowner

    UNION ALL
    SELECT 8, 'unexpected', format('default privileges of %s: grant %s on %s to %s', owner.name, privilege_type, objects, grantee_name), NULL,
      format('grant %s on %s to %s', privilege_type, objects, grantee_name),
      format('ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE %s ON %s FROM %s', owner.name,
        CASE WHEN defaclnamespace <> 0 THEN ' IN SCHEMA ' || schema.name END, privilege_type, upper(objects), grantee_name)
    FROM pg_default_acl
    JOIN owner ON id = defaclrole
    CROSS JOIN schema
    CROSS JOIN LATERAL (SELECT CASE defaclobjtype WHEN 'r' THEN 'tables' ELSE 'sequences' END) AS kinds (objects)
    CROSS JOIN LATERAL aclexplode(defaclacl) AS acl
    CROSS JOIN LATERAL (
      SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
    ) AS named (grantee_name)
    WHERE defaclnamespace IN (0, schema.oid) AND defaclobjtype IN ('r', 'S') AND acl.grantee <> defaclrole

    UNION ALL
    SELECT 9, 'unexpected', 'event trigger ' || quote_ident(evtname), NULL,
      format('on %s: %s', evtevent, evtfoid::regprocedure),
      'It runs as the user that migrates. If nobody needs it: ALTER EVENT TRIGGER ' || quote_ident(evtname) || ' DISABLE'
    FROM pg_event_trigger
    WHERE evtenabled <> 'D' AND NOT EXISTS (
      SELECT FROM pg_depend WHERE classid = 'pg_event_trigger'::regclass AND objid = pg_event_trigger.oid AND deptype = 'e')

    UNION ALL
    SELECT 10, 'unexpected', format('publication %s: table %s', quote_ident(pubname), tablename), NULL,
      'sends ' || string_agg(column_name, ', ' ORDER BY column_name),
      'Every subscriber reads them. Unless it is for a move of the whole database: publish other columns, or DROP '
        || 'PUBLICATION ' || quote_ident(pubname)
    FROM pg_publication_tables CROSS JOIN LATERAL unnest(attnames) AS column_name
    WHERE schemaname = current_schema()
      AND tablename || '.' || column_name = ANY (${SECRETS})
    GROUP BY pubname, tablename
  )
  SELECT kind, object, expected, actual, remedy FROM exposures ORDER BY place, object COLLATE "C"`;

/**
 * What opens our tables, or closes them to our services, without a change of them: settings of the database and of roles,
 * what the services' roles are besides groups, who may make tables in our schema, what happens to tables that are made
 * next, and who is sent what is in them. Reads catalogs only, and any role may read those.
 *
 * @throws ConfigurationError the prefix is malformed
 */
export async function readExposures(session: Queryable, rolePrefix?: string): Promise<Drift[]> {
  return await query<Exposure>(session, exposuresTo(roleNames(rolePrefix)));
}
