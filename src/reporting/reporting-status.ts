import { type QueryRunner } from 'typeorm';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { type ResidueClass } from '../fence/residue';
import { REPORTING_SCHEMA } from '../schema/objects';
import { type ShardEntry, type ShardMapSource } from '../shards/shard-map';
import { validateSettings } from '../validation/validate-options';
import { withReporting, withShards } from './databases';
import { COLUMNS_OF_RELATION, columnsOf } from './foreign-tables';
import { inspectViews } from './inspect-views';
import { partitionOf, schemaOfClass } from './names';
import { madeBy } from './obstacles';
import { ReportingPlace } from './settings';
import { REPORTING_VIEWS } from './views';

/** How the reporting database and the views that it reads are, beside the map. Changes nothing. */
export interface ReportingStatus {
  /** Of the map. */
  readonly version: number;
  /** Of the map that the reporting database was made by; null where it was not made. */
  readonly madeBy: number | null;
  readonly shards: readonly ShardReportingStatus[];
  /** All of it is as the map and this version of the package say, and answers. */
  readonly current: boolean;
}

/** One database of the map. */
export interface ShardReportingStatus extends ResidueClass {
  readonly shard: string;
  /** Of its class: all there and unchanged, changed, or missing. */
  readonly views: 'current' | 'changed' | 'missing';
  /** The parts of the tables of the reporting database that lead there: `changed` where columns are of another version. */
  readonly tables: 'current' | 'changed' | 'missing';
  /** `yes`, or the SQLSTATE with which a report there fails: `08001` is a server or a login that is refused. */
  readonly answers: string;
}

/**
 * Looks whether reports are what the map says: after a split, and for monitoring.
 *
 * @throws ReportingRefusedError; ConfigurationError a setting or the map is wrong
 */
export async function reportingStatus(source: ShardMapSource, place: ReportingPlace): Promise<ReportingStatus> {
  const given = validateSettings({ ReportingPlace }, place);
  return await withReporting(given, async (reporting) => {
    const map = await source.load();
    return await withShards(map, given, async (open) => {
      const parts = await readParts(reporting);
      const shards: ShardReportingStatus[] = [];
      const session = reporting.createQueryRunner();
      try {
        for (const { entry, dataSource } of open) {
          const found = await inspectViews(dataSource, given.rolePrefix);
          const own = found.find(({ schema }) => schema === schemaOfClass(entry));
          const tables = tablesOf(parts, entry);
          shards.push({
            ...{ shard: entry.name, modulus: entry.modulus, remainder: entry.remainder },
            views: !own ? 'missing' : own.drift.length > 0 || found.length > 1 ? 'changed' : 'current',
            tables,
            answers: tables === 'missing' ? '–' : await answerOf(session, entry),
          });
        }
      } finally {
        await session.release();
      }
      const made = (await madeBy(reporting)) ?? null;
      const isCurrent = (one: ShardReportingStatus) =>
        one.views === 'current' && one.tables === 'current' && one.answers === 'yes';
      const current =
        made === map.version && shards.every(isCurrent) && parts.size === shards.length * REPORTING_VIEWS.length;
      return { version: map.version, madeBy: made, shards, current };
    });
  });
}

/** A part of a table of the reporting database. */
interface Part {
  readonly name: string;
  /** The restaurants that it has, and the schema of the views. */
  readonly leads: string;
  readonly columns: string;
}

/**
 * Of the rows of one snapshot alone: a renewal makes all parts again, and what is looked up by an oid would be gone. A bound by
 * hash names no column, so that it is printed without its table.
 */
async function readParts(reporting: Queryable): Promise<Map<string, Part>> {
  const rows = await query<Part>(
    reporting,
    sql`
    SELECT format('"%s"', relname) AS name, concat_ws(' ', pg_get_expr(relpartbound, 0),
      (SELECT option_value FROM pg_options_to_table(ftoptions) WHERE option_name = 'schema_name')) AS leads,
      ${raw(COLUMNS_OF_RELATION)} AS columns
    FROM pg_class JOIN pg_foreign_table ON ftrelid = pg_class.oid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ${REPORTING_SCHEMA}`,
  );
  return new Map(rows.map((part) => [part.name, part]));
}

function tablesOf(parts: ReadonlyMap<string, Part>, entry: ShardEntry): ShardReportingStatus['tables'] {
  const own = REPORTING_VIEWS.map((view) => ({ view, part: parts.get(partitionOf(view.name, entry.name)) }));
  const leads = `FOR VALUES WITH (modulus ${entry.modulus}, remainder ${entry.remainder}) ${schemaOfClass(entry)}`;
  if (own.some(({ part }) => part?.leads !== leads)) return 'missing';
  return own.every(({ view, part }) => part?.columns === columnsOf(view)) ? 'current' : 'changed';
}

/** Where the answer of a database is left, within a session. */
const ANSWER = 'payment_events_db.answer';

/**
 * Asks for one row, as a report would. What fails is caught by the server: to its own client the error of a connection is
 * that of the connection it has.
 */
async function answerOf(session: QueryRunner, { name }: ShardEntry): Promise<string> {
  await session.query(`DO $$
    BEGIN
      PERFORM FROM ${REPORTING_SCHEMA}.${partitionOf('requests', name)} LIMIT 1;
      PERFORM set_config('${ANSWER}', 'yes', false);
    EXCEPTION WHEN OTHERS THEN
      PERFORM set_config('${ANSWER}', SQLSTATE, false);
    END $$`);
  const [row] = await query<{ answer: string }>(session, sql`SELECT current_setting(${ANSWER}) AS answer`);
  return row!.answer;
}
