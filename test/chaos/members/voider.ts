import { setTimeout as delay } from 'node:timers/promises';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { ask } from '../http';
import { say } from '../journal';
import { consume } from './consume';
import { ANSWER_MS, CALM, dice, PROCESSOR, work } from './member';

/** Has the processor release the authorization that a message names. */
void work(3, () =>
  consume('void_request_queued', async ({ messageType, payload }) => {
    const message = decodeOutboxMessage(messageType, Buffer.from(payload, 'base64'));
    if (message.type !== 'void_request_queued') throw new Error(`It got a message ${message.type}.`);
    const { processorAuthId } = message.data;
    if (!CALM) await delay(dice.between(0, 500));
    const limit = AbortSignal.timeout(ANSWER_MS);
    const answer = await ask<{ voided: boolean }>(`${PROCESSOR}/void`, { id: processorAuthId }, limit).catch(
      () => null,
    );
    if (!answer) return 'later';
    if (!answer.voided) throw new Error(`The processor holds nothing under ${processorAuthId}.`);
    say({ did: 'release', processorAuthId });
    return 'done';
  }),
);
