import { type PaymentEventsDataSource } from '../../../src/data-source';
import { OutboxRelay } from '../../../src/outbox/outbox-relay';
import { type Publisher } from '../../../src/outbox/publisher';
import { best, type Comparison } from '../../contestant';
import { fillOutbox } from '../../lab/fill-outbox';
import { type Load } from '../../measure/load';
import { bareLoop } from './bare-loop';
import { graphileWorker } from './graphile-worker';
import { pgBoss } from './pg-boss';

const BATCH_SIZE = 100;
const LARGE_BATCH = 500;

/** More than one relay gets through, so that none runs out of messages. */
const MESSAGES_PER_SECOND = 150_000;

const noop: Publisher = { publish: (messages) => Promise.resolve(messages.map(() => ({ published: true }))) };

/** How fast one relay is, the broker aside. */
export const relay: Comparison = {
  name: 'relay',
  title: `Deliver the outbox: one relay, a publisher that does nothing, ${BATCH_SIZE} messages a turn unless it says so`,
  unit: 'messages',
  reference: best('relay'),
  ours: ['relay', 'long-lived', 'large'],
  seconds: 1,
  bars: [
    { of: best('relay'), against: best('bare'), atLeast: 0.8, kind: 'required' },
    { of: best('long-lived'), against: best('relay'), atLeast: 0.85, kind: 'required' },
    { of: best('relay'), against: best('pg-boss'), atLeast: 2, kind: 'reported' },
  ],

  async prepare(lab) {
    const { earlierRequests } = lab.settings;
    const [fresh, large, bare, longLived] = [
      await lab.migratedDatabase(),
      await lab.migratedDatabase(),
      await lab.migratedDatabase(),
      await lab.migratedDatabase(),
    ];
    lab.notice(`generating: ${earlierRequests} processed messages`);
    await fillOutbox(longLived, { messages: earlierRequests, processed: true });
    return [
      { name: 'relay', title: 'OutboxRelay, empty outbox before', ...delivering(fresh, relaying(fresh)) },
      {
        name: 'long-lived',
        title: `OutboxRelay, ${earlierRequests.toLocaleString('en')} processed messages before`,
        ...delivering(longLived, relaying(longLived)),
      },
      {
        name: 'large',
        title: `OutboxRelay, ${LARGE_BATCH} messages a turn`,
        ...delivering(large, relaying(large, LARGE_BATCH)),
      },
      {
        name: 'bare',
        title: 'the same SQL in a bare loop',
        ...delivering(bare, await bareLoop(lab, bare, BATCH_SIZE)),
      },
      ...(await pgBoss(lab, BATCH_SIZE)),
      ...(await graphileWorker(lab)),
    ];
  },
};

function relaying(dataSource: PaymentEventsDataSource, batchSize = BATCH_SIZE): () => Promise<number> {
  const relay = new OutboxRelay(dataSource, noop, { batchSize });
  return async () => (await relay.runOnce()).length;
}

/** A turn at a time, of an outbox that never runs empty. */
function delivering(
  dataSource: PaymentEventsDataSource,
  turn: () => Promise<number>,
): { load: Load; beforeSample(seconds: number): Promise<void>; operate(): Promise<number> } {
  let pending = 0;
  return {
    load: { callers: 1 },
    async beforeSample(seconds) {
      const lacking = Math.ceil(seconds * MESSAGES_PER_SECOND) - pending;
      if (lacking > 0) await fillOutbox(dataSource, { messages: lacking, processed: false });
      pending += Math.max(0, lacking);
    },
    async operate() {
      const delivered = await turn();
      if (delivered < BATCH_SIZE)
        throw new Error(`a relay got through ${MESSAGES_PER_SECOND} messages a second: fill in more`);
      pending -= delivered;
      return delivered;
    },
  };
}
