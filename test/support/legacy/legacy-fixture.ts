import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { LEGACY_LEVEL, MigrationChain } from '../migrations/migration-chain';

export interface LegacyRequest {
  authRequestId: string;
  restaurantId: string;
  status: string;
  scenario?: string;
  events: { sequenceNumber: number; eventType: string; decoded: object }[];
}

interface LegacyExpectation {
  requests: LegacyRequest[];
  /** Three aggregates damaged on purpose. */
  broken: (LegacyRequest & { kind: string })[];
  counts: Record<string, number>;
  sequences: Record<string, number>;
  notes: { ghost_lock: string };
  /** Per table, a statement that gives the SHA-256 of its legacy columns, and what it gives for the rows as loaded. */
  sha256: { settings: string; sql: Record<string, string>; value: Record<string, string> };
}

const fixture = (name: string) => readFileSync(join(__dirname, '../../fixtures', name), 'utf8');

/** What is in the legacy rows. */
export const legacy = JSON.parse(fixture('legacy-small.expected.json')) as LegacyExpectation;

/** What {@link digestLegacyColumns} gives for as long as the rows live, which expired locks do not. */
export const lastingDigests = Object.fromEntries(
  Object.entries(legacy.sha256.value).filter(([table]) => table !== 'auth_processing_locks'),
);

/** Makes a database as the Alembic-managed services left it: the legacy schema and made-up rows of theirs. */
export async function loadLegacyDatabase(database: { url: string }): Promise<void> {
  await new MigrationChain(database).upTo(LEGACY_LEVEL);
  await inSession(database, (client) =>
    client.query(
      'CREATE TABLE alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);' +
        fixture('legacy-small.sql'),
    ),
  );
}

/**
 * The SHA-256 of each table's legacy columns, times as they read in UTC without a zone: equal before and after a
 * conversion to timestamptz that keeps the instants.
 */
export function digestLegacyColumns(database: { url: string }): Promise<Record<string, string>> {
  return inSession(database, async (client) => {
    await client.query(legacy.sha256.settings);
    const digests: Record<string, string> = {};
    for (const [table, sql] of Object.entries(legacy.sha256.sql)) {
      const { rows } = await client.query<{ encode: string }>(withoutZones(sql));
      digests[table] = rows[0]?.encode ?? 'no row';
    }
    return digests;
  });
}

/** A cast changes nothing where the column is a plain timestamp, and under TimeZone UTC drops the zone where it is not. */
const withoutZones = (sql: string) =>
  sql.replace(/ROW\((.*?)\)::text/, (_row, columns: string) => {
    const casts = columns.split(', ').map((column) => (column.endsWith('_at') ? `${column}::timestamp` : column));
    return `ROW(${casts.join(', ')})::text`;
  });

async function inSession<T>(database: { url: string }, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: database.url, application_name: 'test' });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
