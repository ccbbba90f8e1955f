import { type Client, type ClientBase } from 'pg';

/** Asks whether the server is still at work on what was asked of it on a connection. */
export type IsAtWork = (client: ClientBase) => Promise<boolean>;

/** Somebody waits for an answer on a connection until a time, on the clock of `performance.now()`. */
interface Wait {
  readonly client: ClientBase;
  until: number;
  readonly limitMs: number;
  readonly isAtWork: IsAtWork | undefined;
}

const waits = new Set<Wait>();
const LOOK_EVERY_MS = 100;
let looking: NodeJS.Timeout | undefined;

/**
 * Cuts the connection off unless the answer comes in time: where the network swallows it, a client would wait for ever.
 * Whatever waits on the connection then fails, and the server ends its transaction.
 *
 * One timer looks after all waits. One each, as `query_timeout` of `pg` sets, took a seventh of what an operation costs
 * its process: most of it for the garbage collector, since a timer holds on to the query and its values.
 *
 * @param limitMs 0 for no limit; some 100 ms more may pass
 * @param isAtWork asked each time that the limit has passed: as long as it says yes, the answer is waited for again
 * @returns to be called when the answer is there
 */
export function expectAnswer(client: ClientBase, limitMs: number, isAtWork?: IsAtWork): () => void {
  if (limitMs === 0) return () => undefined;
  const wait = { client, until: performance.now() + limitMs, limitMs, isAtWork };
  waits.add(wait);
  looking ??= setInterval(look, LOOK_EVERY_MS).unref();
  return () => waits.delete(wait);
}

function look(): void {
  const now = performance.now();
  for (const wait of waits) {
    if (wait.until > now) continue;
    if (wait.isAtWork) void askAbout(wait, wait.isAtWork);
    else giveUp(wait);
  }
  if (waits.size > 0) return;
  clearInterval(looking);
  looking = undefined;
}

async function askAbout(wait: Wait, isAtWork: IsAtWork): Promise<void> {
  wait.until = Infinity;
  const goesOn = await isAtWork(wait.client);
  if (goesOn) wait.until = performance.now() + wait.limitMs;
  else if (waits.has(wait)) giveUp(wait);
}

function giveUp(wait: Wait): void {
  waits.delete(wait);
  cut(wait.client);
}

/**
 * Ends a connection at once: `end()` would wait for the answer that does not come. Whatever waits on it fails. The
 * native client has no stream to destroy, and is ended without a message.
 */
export function cut(client: ClientBase): void {
  const { connection } = client as unknown as { connection?: { stream: { destroy(): void } } };
  if (connection) connection.stream.destroy();
  else void (client as Client).end();
}
