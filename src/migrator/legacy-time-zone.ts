import { InvalidCommandError, PaymentEventsDbError } from '../errors';
import { hasTable, type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { MIGRATIONS_TABLE } from '../schema/objects';

/** It is not clear in which time zone the old rows were written. Nothing was changed. */
export class LegacyTimeZoneError extends PaymentEventsDbError {
  readonly code = 'LEGACY_TIME_ZONE';
}

/** The spellings of UTC. Zones that only happen to have no offset at the moment, such as Europe/London, are others. */
const UTC = /^(Etc\/)?(UTC|UCT|GMT|GMT[+-]?0|Greenwich|Universal|Zulu)$/i;

/** What sessions of this database begin with, besides what the server gives to all. */
const SETTINGS = sql`
  SELECT substring(setting FROM '=(.*)') AS zone, setrole = 0 AS everybody,
    concat_ws(' in ', CASE setrole WHEN 0 THEN NULL ELSE 'role ' || pg_get_userbyid(setrole) END,
      CASE setdatabase WHEN 0 THEN NULL ELSE 'database ' || current_database() END,
      CASE WHEN setrole = 0 AND setdatabase = 0 THEN 'ALTER ROLE ALL' END) AS place
  FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
  WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND setting ILIKE 'timezone=%'
  ORDER BY place`;

/** What this session began with, and who said so. */
const OWN = sql`SELECT reset_val AS zone, source FROM pg_settings WHERE name = 'TimeZone'`;

/** Sources of a setting of this session or this role alone, behind which the one of all others is not to be seen. */
const HIDING = ['client', 'interactive', 'override', 'session', 'user', 'database user'];

const canonical = (zone: string) => sql`SELECT name FROM pg_timezone_names WHERE lower(name) = lower(${zone})`;

/** No other migration makes times without a zone. */
const FIRST = 'LegacySchema1795367318204';

const EXTEND_HISTORY = `
  ALTER TABLE ${MIGRATIONS_TABLE}
    ADD COLUMN IF NOT EXISTS legacy_timezone text,
    ADD COLUMN IF NOT EXISTS legacy_utc_columns text[]`;

const record = (zone: string, inUtc: readonly string[]) => sql`
  UPDATE ${raw(MIGRATIONS_TABLE)} SET legacy_timezone = ${zone}, legacy_utc_columns = ${inUtc} WHERE name = ${FIRST}`;

const RECORDED = sql`
  SELECT to_jsonb(history) ->> 'legacy_timezone' AS zone, to_jsonb(history) -> 'legacy_utc_columns' AS in_utc
  FROM ${raw(MIGRATIONS_TABLE)} AS history WHERE name = '${raw(FIRST)}'`;

/**
 * The zone in which the old rows were written: the one given, or else UTC, where sessions of this database cannot have
 * begun with any other. What a client says when it connects is nowhere to be seen.
 *
 * @throws LegacyTimeZoneError where they can, or where that is not to be seen
 * @throws InvalidCommandError where the server knows no zone of the name given
 */
export async function legacyTimeZone(session: Queryable, given: string | undefined): Promise<string> {
  if (given !== undefined) return await canonicalName(session, given);
  const settings = await query<{ zone: string; everybody: boolean; place: string }>(session, SETTINGS);
  if (!settings.some(({ everybody }) => everybody)) {
    const [own] = await query<{ zone: string; source: string }>(session, OWN);
    if (HIDING.includes(own!.source)) throw new LegacyTimeZoneError(`${HIDDEN} (${own!.source}). ${WAY_OUT}`);
    settings.unshift({ zone: own!.zone, everybody: true, place: 'the server' });
  }
  const others = settings.filter(({ zone }) => !UTC.test(zone)).map(({ zone, place }) => `${place}: ${zone}`);
  if (others.length > 0) {
    throw new LegacyTimeZoneError(
      `Sessions of this database may have written times of another zone than UTC: TimeZone is set otherwise.\n` +
        `${others.map((other) => `  ${other}\n`).join('')}${WAY_OUT}`,
    );
  }
  return 'UTC';
}

async function canonicalName(session: Queryable, zone: string): Promise<string> {
  if (UTC.test(zone)) return 'UTC';
  const [found] = await query<{ name: string }>(session, canonical(zone));
  if (found) return found.name;
  throw new InvalidCommandError('adopt', ['legacyTimeZone must be a name of pg_timezone_names, such as Europe/Berlin']);
}

const HIDDEN =
  'The TimeZone of this session was set for it alone, which hides the TimeZone that other sessions begin with';
const WAY_OUT =
  'Compare times of the old rows with what is known of their requests, and say in which zone they are, also where that is UTC: ' +
  '--legacy-timezone UTC.';

/** How to change what was said when a database was adopted. */
export const ADOPT_AGAIN =
  'To adopt it again: npx payment-events-db revert --to LegacyMockProcessor (LegacySchema, where its revision is 9a82c6d3b654), ' +
  `DROP TABLE ${MIGRATIONS_TABLE}, then npx payment-events-db adopt --legacy-timezone <zone>.`;

/** What {@link recordTimeZone} has recorded, else UTC. */
export async function recordedTimes(session: Queryable): Promise<{ zone: string; inUtc: readonly string[] }> {
  if (!(await hasTable(session, MIGRATIONS_TABLE))) return { zone: 'UTC', inUtc: [] };
  const [row] = await query<{ zone: string | null; in_utc: string[] | null }>(session, RECORDED);
  return { zone: row?.zone ?? 'UTC', inUtc: row?.in_utc ?? [] };
}

/**
 * Keeps with the first migration's row of the history, where ContractTimestamps looks for it, in which zone the old
 * times are, and which of the times that clients wrote are in UTC all the same. A setting of the database would be the place for
 * it, but only a superuser may make one of a name that PostgreSQL does not know.
 */
export async function recordTimeZone(session: Queryable, zone: string, inUtc: readonly string[]): Promise<void> {
  await session.query(EXTEND_HISTORY);
  await query(session, record(zone, inUtc));
}
