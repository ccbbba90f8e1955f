import { query, raw, sql } from '../../database/sql';
import { addFence, FENCED_TABLES, fenceOf } from '../../fence/fence-sql';
import { classInWords, isSameClass, LARGEST_MODULUS } from '../../fence/residue';
import { addReceives } from '../../fence/receives';
import { isAClass } from '../../fence/read-fence';
import { assertNonePending, assertSound, readHistory } from '../../migrator/history';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { readCatalog } from '../../schema/catalog';
import { compareCatalogs } from '../../schema/compare-catalogs';
import { findMissingRights } from '../../migrator/missing-rights';
import { loginOf } from './connection';
import { SplitRefusedError } from './errors';
import { numberProblems } from './number';
import { type SplitSession } from './split-session';
import { assertWhole, type Mark, type Standing } from './standing';
import { TABLES } from './tables';

/**
 * Makes the target ready for rows that are older than its checks, and marks it. Every row that is copied is new to the target,
 * so that a check which is NOT VALID, for it is younger than some rows, would end the copy. The fence is set to what moves from
 * the beginning: rows of other restaurants are refused there, whatever sends them. A second check refuses what the source does not
 * send: services that were given the next map too early would write to both.
 */
export async function prepare(session: SplitSession, standing: Standing): Promise<void> {
  if (standing.target.mark || standing.isHandedOver) return;
  assertWhole('prepare', standing);
  const problems = await problemsOf(session, standing);
  if (problems.length > 0) throw new SplitRefusedError('prepare', problems);
  const mark: Mark = {
    ...{ id: session.ends.id, moves: session.moves, number: session.ends.number },
    timeline: standing.target.timeline,
  };
  const checks = await session.read<{ statement: string }>('target', YOUNGER_CHECKS);
  await session.whileLocked(
    'target',
    // Without tables.
    `CREATE PUBLICATION ${SPLIT_MARK}`,
    `COMMENT ON PUBLICATION ${SPLIT_MARK} IS '${JSON.stringify(mark)}'`,
    ...checks.map(({ statement }) => statement),
    ...FENCED_TABLES.map((table) => addFence(table, session.moves)),
    // Those that migrations have inserted: the source has them too, and may have changed them.
    `DELETE FROM processors`,
    ...TABLES.map(addReceives),
  );
}

const FENCES = FENCED_TABLES.map(fenceOf);

const YOUNGER_CHECKS = sql`
  SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS statement
  FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
  WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${TABLES}) AND contype = 'c' AND NOT convalidated
    AND conname <> ALL (${FENCES})
  ORDER BY relname, conname`;

/** Of both ends, which so have the same schema. While a step is at work nobody migrates; between two steps somebody may. */
export async function assertMigrated(session: SplitSession): Promise<void> {
  for (const end of ['source', 'target'] as const) {
    const history = await readHistory(session.ends[end], session.at(end));
    assertSound(history);
    assertNonePending(history);
  }
}

async function problemsOf(session: SplitSession, { source, target }: Standing): Promise<string[]> {
  const { whole } = session.ends;
  const problems: string[] = [];
  if (whole.modulus >= LARGEST_MODULUS) {
    problems.push(`Class ${classInWords(whole)} cannot be split: the largest modulus is ${LARGEST_MODULUS}.`);
  }
  if (source.fence === 'altered')
    problems.push('The fences of the source do not agree: npx payment-events-db shard fence.');
  else if (isAClass(source.fence) && !isSameClass(source.fence, whole)) {
    problems.push(
      `The source has class ${classInWords(source.fence)}, not ${classInWords(whole)}: look at the map, or at an earlier split.`,
    );
  }
  if (isAClass(target.fence)) {
    problems.push(`The target has class ${classInWords(target.fence)}, as a database of a map: make a new one.`);
  } else if (target.fence) problems.push('The target was given up, or has fences of its own: make a new one.');
  await assertMigrated(session);
  for (const end of ['source', 'target'] as const) {
    for (const missing of await findMissingRights(session.at(end))) problems.push(`At the ${end}: ${missing}.`);
  }
  const found = [
    ...(await session.read<{ problem: string }>(
      'source',
      sourceProblems(await copiersOf(session), loginOf(session.ends.connection)),
    )),
    ...(await session.read<{ problem: string }>('target', TARGET_PROBLEMS)),
  ];
  problems.push(...found.map(({ problem }) => problem));
  problems.push(...(await numberProblems(session)), ...(await differencesOf(session)));
  for (const table of TABLES.filter((name) => name !== 'processors')) {
    const rows = await query(session.at('target'), sql`SELECT FROM ${raw(table)} LIMIT 1`);
    if (rows.length > 0) problems.push(`The target has rows in ${table}, and must be empty: make a new one.`);
  }
  return problems;
}

/** How many tables the target copies at once. Each takes a replication slot and a WAL sender of its own, besides those that follow. */
async function copiersOf(session: SplitSession): Promise<number> {
  const asked = sql`SELECT current_setting('max_sync_workers_per_subscription')::int AS most`;
  const [found] = await session.read<{ most: number }>('target', asked);
  return Math.min(found!.most, TABLES.length);
}

/** Those of a login in a database come first, then those of the login, of the database, and of all. */
const sourceProblems = (copiers: number, login: string | undefined) => sql`
  SELECT 'The source needs wal_level = logical, and a restart for it.' AS problem
  WHERE current_setting('wal_level') <> 'logical'
  UNION ALL
  SELECT format('The source needs %s free for the first copy: raise %s (%s, %s in use), or lower max_sync_workers_per_subscription of the target (%s).',
    ${1 + copiers}::int, setting, current_setting(setting), used, ${copiers}::int)
  FROM (VALUES ('max_replication_slots', (SELECT count(*) FROM pg_replication_slots)),
    ('max_wal_senders', (SELECT count(*) FROM pg_stat_replication))) AS limits (setting, used)
  WHERE used + ${1 + copiers}::int > current_setting(setting)::int
  UNION ALL
  SELECT format('%s needs CREATE on the database of the source: GRANT CREATE ON DATABASE %I TO %1$I.', current_user, current_database())
  WHERE NOT has_database_privilege(current_database(), 'CREATE')
  UNION ALL
  SELECT format('Table %s of the source has a replica identity of its own: ALTER TABLE %1$s REPLICA IDENTITY DEFAULT.', relname)
  FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${TABLES}) AND relreplident NOT IN ('d', 'f')
  UNION ALL
  SELECT format('A %s of the source ends the first copy of a large table (%s): ALTER ROLE %I IN DATABASE %I SET %1$s = 0 until the cut-over.',
    name, value, ${login ?? 'the login'}::text, current_database())
  FROM (
    SELECT DISTINCT ON (one.name) one.name, split_part(setting, '=', 2) AS value
    FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
      CROSS JOIN LATERAL (SELECT split_part(setting, '=', 1)) AS one (name)
    WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND setrole IN (0, coalesce(to_regrole(quote_ident(${login ?? null}::text))::oid, 0))
      AND one.name IN ('statement_timeout', 'transaction_timeout')
    ORDER BY one.name, setrole <> 0 DESC, setdatabase <> 0 DESC
  ) AS timeouts
  WHERE value !~ '^0+\\D*$'`;

const TARGET_PROBLEMS = sql`
  SELECT 'The target needs max_sync_workers_per_subscription of 1 or more: it copies nothing.' AS problem
  WHERE current_setting('max_sync_workers_per_subscription')::int = 0
  UNION ALL
  SELECT 'The target needs max_logical_replication_workers of 2 or more.'
  WHERE current_setting('max_logical_replication_workers')::int < 2
  UNION ALL
  SELECT format('%s needs CREATE on the database of the target: GRANT CREATE ON DATABASE %I TO %1$I.', current_user, current_database())
  WHERE NOT has_database_privilege(current_database(), 'CREATE')
  UNION ALL
  SELECT format('%s may not subscribe at the target: GRANT pg_create_subscription TO %1$I.', current_user)
  FROM pg_roles
  WHERE rolname = current_user AND NOT rolsuper AND NOT pg_has_role(to_regrole('pg_create_subscription'), 'USAGE')`;

/** Privileges and fences are each database's own. */
async function differencesOf(session: SplitSession): Promise<string[]> {
  const [expected, actual] = await Promise.all(
    (['source', 'target'] as const).map(async (end) => {
      const lines = (await readCatalog(session.at(end))).split('\n');
      return lines
        .filter(
          (line) => !/^\s+grant /.test(line) && !FENCES.some((fence) => line.startsWith(`  constraint ${fence} `)),
        )
        .map((line) => line.replace(/ replica identity full$/, ''))
        .join('\n');
    }),
  );
  return compareCatalogs(expected!, actual!).map(
    ({ kind, object }) => `The target is not like the source: ${kind}: ${object}. See: npx payment-events-db check.`,
  );
}
