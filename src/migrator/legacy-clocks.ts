import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { LegacyTimeZoneError } from './legacy-time-zone';

/** Times of auth_request_state that the legacy services write by their own clock, and not by the server's now(). */
export const CLIENT_TIMES = ['created_at', 'completed_at'] as const;

/** One of them, and how its rows compare with the events of the same transactions, which the server's clock has timed. */
export interface LegacyClock {
  readonly column: (typeof CLIENT_TIMES)[number];
  /** The zone in which the column was written: UTC or that of the server. */
  readonly zone: string;
  /** Requests that have an event to compare with. */
  readonly compared: number;
}

interface Comparison {
  column: LegacyClock['column'];
  compared: number;
  utc: number;
  zone: number;
  neither: number;
  shifted: number;
  /** By how much most of those that agree with nothing differ from their event, as both are written. */
  hours: number | null;
  requests: string[];
}

/** Seconds. What a transaction takes between its beginning, which is now(), and its last statement. */
const TOGETHER = 5;

/** Seconds. So slow a transaction tells nothing, but is nothing wrong either: no two zones are as close. */
const APART = 300;

/**
 * A row at a time, since a zone changes with the season: in winter a row of London agrees with both. `in_zone` and
 * `in_utc` are the seconds between the two times where the request's was written in the zone, or in UTC. An event of the
 * hour that autumn has twice may be of either.
 *
 * Without APART of any event in UTC, a difference of whole quarters of an hour is that of a zone.
 */
const compare = (zone: string) => sql`
  WITH pair AS (
    SELECT 'created_at' AS name, auth_request_id AS id, request.created_at AS at, event.created_at AS event_at
    FROM auth_request_state AS request
    JOIN payment_events AS event ON aggregate_id = auth_request_id AND sequence_number = 1
    UNION ALL
    SELECT 'completed_at', auth_request_id, completed_at, event.created_at
    FROM auth_request_state JOIN payment_events AS event ON aggregate_id = auth_request_id
    WHERE completed_at IS NOT NULL
  ), apart AS (
    SELECT name, id,
      min(abs(date_part('epoch', at - event_at))) AS in_zone,
      min(least(abs(date_part('epoch', at - first_at)), abs(date_part('epoch', at - second_at)))) AS in_utc
    FROM pair
    CROSS JOIN LATERAL (SELECT event_at AT TIME ZONE ${zone} AS instant) AS read
    CROSS JOIN LATERAL (SELECT
      instant AT TIME ZONE 'UTC' AS second_at,
      CASE WHEN (instant - interval '1 hour') AT TIME ZONE ${zone} = event_at
           THEN (instant - interval '1 hour') AT TIME ZONE 'UTC' END AS first_at) AS instants
    WHERE at BETWEEN '0001-01-01' AND '9999-12-31' AND event_at BETWEEN '0001-01-01' AND '9999-12-31'
    GROUP BY name, id
  ), judged AS (
    SELECT name, id, in_zone AS apart,
      in_utc <= ${raw(TOGETHER)} AND in_zone > ${raw(APART)} AS is_utc,
      in_zone <= ${raw(TOGETHER)} AND in_utc > ${raw(APART)} AS is_zone,
      least(in_utc, in_zone) > ${raw(APART)} AS is_neither,
      least(in_utc, in_zone) BETWEEN ${raw(APART)} AND 93600
        AND abs(in_utc - round(in_utc / 900) * 900) <= ${raw(TOGETHER)} AS is_shifted
    FROM apart
  )
  SELECT name AS "column", count(id)::integer AS compared,
    count(*) FILTER (WHERE is_utc)::integer AS utc,
    count(*) FILTER (WHERE is_zone)::integer AS zone,
    count(*) FILTER (WHERE is_neither)::integer AS neither,
    count(*) FILTER (WHERE is_shifted)::integer AS shifted,
    mode() WITHIN GROUP (ORDER BY round(apart / 900) / 4) FILTER (WHERE is_neither) AS hours,
    (array_agg(id::text ORDER BY is_shifted DESC, is_neither DESC, id) FILTER (WHERE is_neither OR is_zone))[1:5] AS requests
  FROM unnest('{created_at,completed_at}'::text[]) AS name LEFT JOIN judged USING (name)
  GROUP BY name ORDER BY name DESC`;

/**
 * In which zone each of {@link CLIENT_TIMES} was written, told by the rows: the time of a request and the time of its
 * event are of one transaction, so that they are the same instant when each is read in its own zone. Where no row
 * tells, it is UTC, which is what the legacy services write.
 *
 * @param zone of all other times, those of the server
 * @throws LegacyTimeZoneError with numbers, where rows do not agree with one another or with the zone
 */
export async function legacyClocks(session: Queryable, zone: string): Promise<LegacyClock[]> {
  const comparisons = await query<Comparison>(session, compare(zone));
  const wrong = comparisons.filter(({ utc, zone: inZone, neither, shifted }) =>
    zone === 'UTC' ? shifted > 0 : neither > 0 || (utc > 0 && inZone > 0),
  );
  if (wrong.length > 0) {
    throw new LegacyTimeZoneError(
      `The times of the old rows do not agree with ${zone}: those of a request and of its events are of one ` +
        `transaction, but are not of one time.\n${wrong.map((one) => describe(one, zone)).join('')}${WAY_OUT}`,
    );
  }
  return comparisons.map(({ column, compared, zone: inZone }) => ({
    column,
    compared,
    zone: inZone > 0 ? zone : 'UTC',
  }));
}

function describe(comparison: Comparison, zone: string): string {
  const { column, compared, utc, zone: inZone, neither, shifted, hours, requests } = comparison;
  const counts =
    zone === 'UTC' ? `${shifted} in another` : `${utc} in UTC, ${inZone} in ${zone}, ${neither} in neither`;
  const by = hours === null ? '' : ` (as written, most are ${hours} h from their event)`;
  return `  auth_request_state.${column}: of ${compared} rows ${counts}${by}, such as ${requests.join(', ')}\n`;
}

const WAY_OUT =
  'If it is another zone, say which: --legacy-timezone <zone>. If only some rows are wrong, correct their times, with the ' +
  'trigger update_auth_request_state_updated_at disabled.';
