import { randomUUID } from 'node:crypto';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { HoldNotFoundError } from '../../../src/errors';
import { say } from '../journal';
import { WEBHOOK } from '../queues';
import { type Webhook } from '../webhooks';
import { consume } from './consume';
import { dice, insist } from './member';

/** Takes in one message of the processor. It has to come again where its hold is not known yet. */
export const takeWebhook = (dataSource: PaymentEventsDataSource): Promise<void> =>
  consume(WEBHOOK, async ({ payload }) => {
    const webhook = JSON.parse(Buffer.from(payload, 'base64').toString()) as Webhook;
    const { eventId: sourceEventId, told, processorAuthId, reference, amountCents, currency } = webhook;
    const holds = new Holds(dataSource);
    const correlationId = randomUUID();
    const report = {
      ...{ processorName: 'stripe', processorAuthId, told, amountCents, currency, correlationId },
      ...{ source: 'stripe', sourceEventId, ...(reference !== undefined && { authRequestId: reference }) },
    };
    const call = () =>
      dice.chance(0.2) ? dataSource.transaction((manager) => holds.report(report, manager)) : holds.report(report);
    const reported = await insist(() => call().catch(isUnknown));
    if (!reported) return 'later';
    const { authRequestId, state: holdState, replayed, voidQueued } = reported;
    const how = voidQueued ? 'to be voided' : told;
    say({ did: 'report', authRequestId, processorAuthId, holdState, how, ...(!replayed && { correlationId }) });
    return 'done';
  });

function isUnknown(error: unknown): undefined {
  if (!(error instanceof HoldNotFoundError)) throw error;
  say({ met: error.code });
}
