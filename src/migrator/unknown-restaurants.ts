import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type QueryRunner } from 'typeorm';

/** How many are named. */
const NAMED = 20;

/** Rows for which no state row, no key and no other row of the request tells the restaurant. */
interface Untold {
  readonly source: string;
  readonly id: string;
  readonly events: readonly Buffer[];
}

/** Before ExpandColumns they have no column that could tell. */
const TABLES = `
  SELECT name, EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(name) AND attname = 'restaurant_id') AS told
  FROM unnest('{payment_events,outbox,auth_processing_locks}'::text[]) AS name WHERE to_regclass(name) IS NOT NULL`;

const nothingTells = (id: string) => `
      NOT EXISTS (SELECT FROM auth_request_state AS state WHERE state.auth_request_id = ${id})
      AND NOT EXISTS (SELECT FROM auth_idempotency_keys AS key WHERE key.auth_request_id = ${id})`;

/** A lock that has expired is purged. */
const findUntold = (isTold: (table: string) => string) => `
  SELECT source, id, ARRAY(
    SELECT event_data FROM payment_events WHERE aggregate_id = untold.id AND event_type = 'AuthRequestCreated') AS events
  FROM (
    SELECT DISTINCT 'payment_events' AS source, aggregate_id AS id FROM payment_events AS it
    WHERE NOT (${isTold('payment_events')}) AND ${nothingTells('aggregate_id')}
    UNION ALL
    SELECT DISTINCT 'outbox', aggregate_id FROM outbox AS it
    WHERE NOT (${isTold('outbox')}) AND ${nothingTells('aggregate_id')}
    UNION ALL
    SELECT 'auth_processing_locks', auth_request_id FROM auth_processing_locks AS it
    WHERE NOT (${isTold('auth_processing_locks')}) AND expires_at > now() AND ${nothingTells('it.auth_request_id')}
  ) AS untold
  WHERE NOT EXISTS (SELECT FROM payment_events AS it WHERE aggregate_id = untold.id AND ${isTold('payment_events')})
    AND NOT EXISTS (SELECT FROM outbox AS it WHERE aggregate_id = untold.id AND ${isTold('outbox')})
  ORDER BY source, id`;

/**
 * Rows whose restaurant nothing tells, as ContractRestaurants looks for it, such as `outbox of request …`: at most so
 * many as a message can name. The database rules out all that it can; the events of the others are read here, since the
 * function that reads them in the database needs the right to make one.
 */
export async function findUnknownRestaurants(queryRunner: QueryRunner): Promise<string[]> {
  const unknown: string[] = [];
  await queryRunner.startTransaction('REPEATABLE READ');
  try {
    const tables = (await queryRunner.query(TABLES)) as { name: string; told: boolean }[];
    if (tables.length < 3) return [];
    const told = new Map(tables.map(({ name, told }) => [name, told ? 'it.restaurant_id IS NOT NULL' : 'false']));
    await queryRunner.query(`DECLARE untold NO SCROLL CURSOR FOR ${findUntold((table) => told.get(table)!)}`);
    for (let rows: Untold[]; unknown.length < NAMED;) {
      rows = (await queryRunner.query('FETCH 1000 FROM untold')) as Untold[];
      if (rows.length === 0) break;
      const left = rows.filter(({ events }) => !events.some(tellsRestaurant));
      unknown.push(...left.map(({ source, id }) => `${source} of request ${id}`));
    }
  } finally {
    await queryRunner.rollbackTransaction();
  }
  return unknown.slice(0, NAMED);
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Field 3 of AuthRequestCreated. */
function tellsRestaurant(event: Buffer): boolean {
  try {
    const reader = new BinaryReader(event);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 3 && type === WireType.LengthDelimited) return UUID.test(reader.string());
      reader.skip(type, field);
    }
  } catch {
    // What cannot be read tells nothing.
  }
  return false;
}
