import { randomUUID } from 'node:crypto';
import { type ReportedHold } from '../../../src/auth-requests/holds/report-hold';
import {
  AuthRequestNotFoundError,
  HoldNotFoundError,
  type PaymentEventsDbError,
  WrongShardError,
} from '../../../src/errors';
import { type Shard } from '../../../src/shards/shard';
import { type Shards } from '../../../src/shards/shards';
import { say } from '../journal';
import { WEBHOOK } from '../queues';
import { type Webhook } from '../webhooks';
import { consume } from './consume';
import { dice, insist, sayPassing } from './member';

/**
 * Takes in one message of the processor, which names no restaurant: each database is asked whether it has the hold. It has
 * to come again where none has it yet, or one is away that may have it.
 */
export const takeWebhook = (shards: Shards): Promise<void> =>
  consume(WEBHOOK, async ({ payload }) => {
    const webhook = JSON.parse(Buffer.from(payload, 'base64').toString()) as Webhook;
    const { eventId: sourceEventId, told, processorAuthId, reference, amountCents, currency } = webhook;
    const correlationId = randomUUID();
    const report = {
      ...{ processorName: 'stripe', processorAuthId, told, amountCents, currency, correlationId },
      ...{ source: 'stripe', sourceEventId, ...(reference !== undefined && { authRequestId: reference }) },
    };
    const reportAt = ({ dataSource, holds }: Shard) =>
      dice.chance(0.2) ? dataSource.transaction((manager) => holds.report(report, manager)) : holds.report(report);
    const reported = await firstOf(shards, reportAt);
    if (!reported) return 'later';
    const { authRequestId, state: holdState, replayed, voidQueued } = reported;
    const how = voidQueued ? 'to be voided' : told;
    say({ did: 'report', authRequestId, processorAuthId, holdState, how, ...(!replayed && { correlationId }) });
    return 'done';
  });

/** What the database says that has the hold: at most one has. */
async function firstOf(shards: Shards, report: (shard: Shard) => Promise<ReportedHold>) {
  const { results, away } = await shards.each((shard) => insist(() => report(shard).catch(isElsewhere), 4));
  away.forEach(sayPassing);
  return results.find(({ value }) => value)?.value;
}

/** Unknown here; or known once, before it moved. */
function isElsewhere(error: unknown): undefined {
  const types = [AuthRequestNotFoundError, HoldNotFoundError, WrongShardError];
  if (!types.some((type) => error instanceof type)) throw error;
  say({ met: (error as PaymentEventsDbError).code });
}
