import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { v4 as uuidv4 } from 'uuid';
import { type RelayHooks } from '../../../src';
import { type RelayMessage } from '../../../src/outbox/publisher';
import { RESTAURANT } from '../requests/auth-requests';
import { type DatabaseOfFile } from '../database/use-test-database';
import { within } from '../processes/within';

let lastId = 0n;

/** What a relay hands to a publisher. */
export const aRelayMessage = (changes: Partial<RelayMessage> = {}): RelayMessage => ({
  id: ++lastId,
  aggregateId: uuidv4(),
  restaurantId: RESTAURANT,
  messageType: 'auth_request_queued',
  payload: Buffer.from('p'),
  headers: {},
  attempts: 0,
  createdAt: new Date(),
  ...changes,
});

/** Every byte there is. */
export const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

export interface OutboxRow {
  attempts: number;
  sent: boolean;
  failed: boolean;
  last_error: string | null;
}

export const outboxRows = (database: DatabaseOfFile): Promise<OutboxRow[]> =>
  database.query(
    `SELECT attempts, processed_at IS NOT NULL AS sent, failed_at IS NOT NULL AS failed, last_error FROM outbox ORDER BY id`,
  );

export const PENDING: OutboxRow = { attempts: 0, sent: false, failed: false, last_error: null };
export const SENT: OutboxRow = { ...PENDING, sent: true };

/** Waits until something is so, and fails after a while where it never is. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  let given = false;
  const loop = async () => {
    while (!given && !(await holds())) await delay(20);
  };
  await within(60_000, what, loop()).finally(() => (given = true));
}

/** What a relay says of its broker. */
export function recordOutages(): RelayHooks & { said: string[] } {
  const said: string[] = [];
  return { said, unavailable: (error) => said.push((error as Error).name), recovered: () => said.push('back') };
}

/** Everything that a log could show of an error, its causes and hidden properties included. */
export const shownOf = (error: unknown): string =>
  inspect(error, { depth: 20, showHidden: true, maxStringLength: Infinity }) + JSON.stringify(error);
