/**
 * The check of each table of a target, until it has taken over: rows come from the source alone, which writes to them as well. What
 * PostgreSQL's replication applies, it applies in this role (https://www.postgresql.org/docs/current/logical-replication-architecture.html).
 * `translateError` makes a `WrongShardError` of it.
 */
export const RECEIVES = 'payment_events_split_receives';

/** It takes what replication writes, and refuses everybody else. */
export const addReceives = (table: string): string =>
  `ALTER TABLE ${table} ADD CONSTRAINT ${RECEIVES} CHECK (current_setting('session_replication_role') = 'replica') NOT VALID`;

export const dropReceives = (table: string): string => `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${RECEIVES}`;
