import { type Pool } from 'pg';
import { newId } from '../../src/database/new-id';
import { Outbox } from '../../src/outbox/outbox';
import { best, type Comparison } from '../contestant';
import { fillOutbox } from '../lab/fill-outbox';
import { addJobs, graphileDatabase } from './relay/graphile-worker';

/** Before, on both sides. */
const WAITING = 20_000;
const PAYLOAD = Buffer.alloc(80, 'x');
const PREPARED_JOB = {
  name: 'add_job',
  text: `SELECT graphile_worker.add_job('message', $1::json)`,
  values: [JSON.stringify({ payload: PAYLOAD.toString() })],
};

/** What a service pays to have something done later, if and only if its transaction commits. */
export const enqueue: Comparison = {
  name: 'enqueue',
  title: 'Put a message into a transaction that holds nothing else: BEGIN, the message, COMMIT',
  unit: 'messages',
  reference: best('enqueue'),
  ours: ['enqueue'],
  bars: [],

  async prepare(lab) {
    const dataSource = await lab.migratedDatabase();
    const outbox = new Outbox(dataSource);
    const load = { callers: lab.settings.connections };
    const restaurantId = lab.restaurants[0]!;
    const graphile = await graphileDatabase(lab);
    await fillOutbox(dataSource, { messages: WAITING, processed: false });
    if (graphile) await addJobs(graphile.pool, WAITING);
    return [
      {
        name: 'enqueue',
        title: 'Outbox.enqueue',
        load,
        operate: () =>
          dataSource.transaction((manager) => {
            const message = { aggregateId: newId(), restaurantId, messageType: 'refund_queued', payload: PAYLOAD };
            return outbox.enqueue(manager, message).then(() => undefined);
          }),
      },
      ...(graphile
        ? [
            {
              name: 'graphile-worker',
              title: 'graphile-worker 0.18, add_job',
              load,
              operate: addingJobs(graphile.pool),
            },
          ]
        : []),
    ];
  },
};

function addingJobs(pool: Pool): () => Promise<void> {
  return async () => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(PREPARED_JOB);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
  };
}
