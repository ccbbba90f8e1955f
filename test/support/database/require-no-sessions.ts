import { setTimeout as delay } from 'node:timers/promises';
import { withClient } from '../../../src/testing/with-client';

interface Session {
  application_name: string;
  state: string;
  query: string;
}

const SESSIONS = `
  SELECT application_name, state, left(query, 200) AS query
  FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`;

/** How long the server's side of a closed connection may take to be gone. */
const GRACE_MS = 2_000;

/** Fails when a test left connections behind: the service that does so in production runs out of them. */
export async function requireNoSessions(serverUrl: string, database: string): Promise<void> {
  await withClient(serverUrl, async (client) => {
    for (const deadline = Date.now() + GRACE_MS; ; await delay(20)) {
      const { rows } = await client.query<Session>(SESSIONS, [database]);
      if (rows.length === 0) return;
      if (Date.now() < deadline) continue;
      const list = rows.map((row) => `  ${row.application_name} (${row.state}): ${row.query}`);
      throw new Error([`${rows.length} connections were left open:`, ...list].join('\n'));
    }
  });
}
