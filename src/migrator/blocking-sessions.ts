import { raw, sql } from '../database/sql';

/** A session of the database, as `pg_stat_activity` shows it. */
export interface Session {
  readonly pid: number;
  readonly applicationName: string;
  readonly user: string;
  /** `active`, `idle in transaction` and the like. */
  readonly state: string;
  /** When its transaction began; where it has none, when it connected. */
  readonly since: Date;
}

/** The columns of {@link Session}. What another user's session does is hidden from all but its owner and pg_monitor. */
export const SESSION_COLUMNS = `
  activity.pid, activity.application_name AS "applicationName", coalesce(activity.usename, '?') AS "user",
  coalesce(activity.state, 'state hidden') AS state, coalesce(activity.xact_start, activity.backend_start, now()) AS since`;

/** The sessions that a session waits for: holders of locks in its way and those that queue before it, oldest transaction first. */
export const blockingSessions = (pid: number) => sql`
  SELECT ${raw(SESSION_COLUMNS)}
  FROM unnest(pg_blocking_pids(${pid})) AS blocking (pid)
  JOIN pg_stat_activity AS activity ON activity.pid = blocking.pid
  GROUP BY activity.pid, activity.application_name, activity.usename, activity.state, activity.xact_start, activity.backend_start
  ORDER BY since`;
