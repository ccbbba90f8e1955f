import { type DataSource } from 'typeorm';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { PendingMigrationsError } from '../migrator/errors';
import { namesOf, readHistory } from '../migrator/history';
import { LegacyTimeZoneError, recordedTimes } from '../migrator/legacy-time-zone';

/** How far the tables are that are read, which any step of the migrations may have left, also one that was cut off. */
export interface ReadShape {
  /** Rows hold what their events say of attempts: the migration that makes the guard fills it in before. */
  readonly hasAttempts: boolean;
  /** There are rows of holds. The migration that makes their table adds the columns of sweeps after it has filled it in. */
  readonly hasHolds: boolean;
  /** Events have a column for their restaurant. It may be empty. */
  readonly hasRestaurants: boolean;
  /** The times of events, or of rows, are of a type that knows no zone. */
  readonly eventsLackZone: boolean;
  readonly rowsLackZone: boolean;
}

const SHAPE = operation({
  name: 'read_model_shape',
  input: {},
  output: rowsOf<ReadShape & { exists: boolean }>(),
  sql: `
  WITH columns AS (
    SELECT relname AS table, attname AS name, atttypid = 'timestamp'::regtype AS lacks_zone
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND NOT attisdropped
    WHERE pg_class.oid IN (to_regclass('payment_events'), to_regclass('auth_request_state'))
  )
  SELECT count(DISTINCT "table") = 2 AS exists,
    EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('auth_request_state')
            AND tgname = 'guard_auth_request_state') AS "hasAttempts",
    coalesce(bool_or("table" = 'auth_request_state' AND name = 'sweeps'), false) AS "hasHolds",
    coalesce(bool_or("table" = 'payment_events' AND name = 'restaurant_id'), false) AS "hasRestaurants",
    coalesce(bool_or("table" = 'payment_events' AND name = 'created_at' AND lacks_zone), false) AS "eventsLackZone",
    coalesce(bool_or("table" = 'auth_request_state' AND name = 'created_at' AND lacks_zone), false) AS "rowsLackZone"
  FROM columns`,
});

/** @throws PendingMigrationsError the tables are not there yet */
export async function readShape(dataSource: DataSource, session: Session): Promise<ReadShape> {
  const shape = await session.row(SHAPE, {});
  if (!shape!.exists) throw new PendingMigrationsError(namesOf(await readHistory(dataSource, session), 'pending'));
  return shape!;
}

/** The zone of each column that knows none of its own; null of one that does, and where the times do not matter. */
export interface Zones {
  readonly event: string | null;
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly completedAt: string | null;
}

export const AS_THEY_ARE: Zones = { event: null, createdAt: null, updatedAt: null, completedAt: null };

/**
 * As ContractTimestamps will convert them: by what taking over the database has recorded, else UTC.
 *
 * @throws LegacyTimeZoneError the database was not taken over yet
 */
export async function readZones(dataSource: DataSource, session: Session, shape: ReadShape): Promise<Zones> {
  if (!shape.eventsLackZone && !shape.rowsLackZone) return AS_THEY_ARE;
  const history = await readHistory(dataSource, session);
  if (!history.some(({ name, state }) => name === FIRST && state !== 'pending')) {
    throw new LegacyTimeZoneError(
      'Nothing says in which time zone the times of auth_request_state are, so that none can be written: take this ' +
        'database over first, with payment-events-db adopt.',
    );
  }
  const { zone, inUtc } = await recordedTimes(session);
  const clientsZone = (column: string) => (inUtc.includes(column) ? 'UTC' : zone);
  const ofRow = (name: string) => (shape.rowsLackZone ? name : null);
  return {
    event: shape.eventsLackZone ? zone : null,
    createdAt: ofRow(clientsZone('created_at')),
    updatedAt: ofRow(zone),
    completedAt: ofRow(clientsZone('completed_at')),
  };
}

const FIRST = 'LegacySchema1795367318204';

/** SQL that reads a column without a zone as an instant, or an instant as such a column holds it. */
export const inZone = (sql: string, zone: string | null): string =>
  zone === null ? sql : `(${sql} AT TIME ZONE '${zone.replaceAll("'", "''")}')`;

/** Makes a statement once for each shape that the tables can have, since an operation is known by its name for good. */
export function oncePerShape<T>(make: (shape: ReadShape, zones: Zones) => T): (shape: ReadShape, zones: Zones) => T {
  const made = new Map<string, T>();
  return (shape, zones) => {
    const key = JSON.stringify([shape, zones]);
    if (!made.has(key)) made.set(key, make(shape, zones));
    return made.get(key)!;
  };
}
