import { type Client, type PoolClient } from 'pg';
import { homeOf } from './connections';
import { cut, expectAnswer, type IsAtWork } from './expect-answer';

/** How long the question may take, connecting included, in milliseconds. */
const ASK_WITHIN_MS = 5_000;

/** A session that waits for its client has no answer under way that could still come. */
const IS_AT_WORK = `
  SELECT FROM pg_stat_activity
  WHERE pid = $1 AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'`;

/**
 * Asks on a new connection whether the server is at work on what a session was asked. Nobody can ask where the network
 * swallows everything; a server that refuses the question answers, so that its session may as well. Behind a pooler the
 * session is not known by its number, and counts as not at work.
 */
export const isAtWork: IsAtWork = async (client) => {
  const pool = homeOf(client as PoolClient) as unknown as { Client: new (options: object) => Client; options: object };
  if (!pool) return false;
  const asking = new pool.Client(pool.options).on('error', () => undefined);
  const answered = expectAnswer(asking, ASK_WITHIN_MS);
  try {
    await asking.connect();
    const { rowCount } = await asking.query(IS_AT_WORK, [(client as PoolClient & { processID: number }).processID]);
    return rowCount === 1;
  } catch (error) {
    return (error as { severity?: string }).severity !== undefined;
  } finally {
    answered();
    cut(asking);
  }
};
