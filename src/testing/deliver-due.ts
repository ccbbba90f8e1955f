import { type DataSource } from 'typeorm';
import { ConfigurationError } from '../errors';
import { type Publishers } from '../outbox/delivery';
import { OutboxRelay, type RelayOptions } from '../outbox/outbox-relay';
import { type TurnResult } from '../outbox/relay-turn';
import { requestIn, type RequestOptions, type TestRequest } from './request-in';

/**
 * Takes turns of a relay until nothing is due any more. What waits for its time stays, and so does what another relay is
 * delivering meanwhile.
 *
 * ```ts
 * const publisher = new RecordingPublisher();
 * await deliverDue(dataSource, publisher);
 * expect(publisher.bodies).toMatchObject([{ type: 'auth_request_queued', data: { authRequestId } }]);
 * ```
 *
 * @returns the outcome of each delivery, in the order of the turns: a message that was refused and fell due again has two
 * @throws BrokerUnavailableError a broker is away. What was delivered before stays so
 * @throws ConfigurationError naming each option that is wrong
 */
export async function deliverDue(
  dataSource: DataSource,
  publishers: Publishers,
  options?: RelayOptions,
): Promise<TurnResult[]> {
  const relay = new OutboxRelay(dataSource, publishers, options);
  const all: TurnResult[] = [];
  for (;;) {
    const results = await relay.runOnce();
    if (results.length === 0) return all;
    all.push(...results);
  }
}

/** A request whose message is a dead letter. */
export interface TestDeadLetter extends TestRequest {
  /** For `Outbox.requeue` and `Outbox.discard`. */
  readonly messageId: bigint;
}

const BATCH_SIZE = 10_000;

/**
 * Makes a PENDING request whose `auth_request_queued` a relay has given up: a dead letter, which holds back every later
 * message of the request. What else is in the outbox stays as it is.
 *
 * @throws ConfigurationError naming each option that is wrong
 */
export async function deadLetter(dataSource: DataSource, options?: RequestOptions): Promise<TestDeadLetter> {
  const request = await requestIn(dataSource, 'PENDING', options);
  const isOurs = (aggregateId: string) => aggregateId === request.authRequestId;
  const publisher = {
    publish: (messages: readonly { readonly aggregateId: string }[]) =>
      Promise.resolve(
        messages.map(({ aggregateId }) => {
          const fault = isOurs(aggregateId) ? { permanent: true } : { brokerFault: true };
          return { published: false, reason: 'The test refuses it.', ...fault } as const;
        }),
      ),
  };
  const results = await new OutboxRelay(dataSource, publisher, { batchSize: BATCH_SIZE }).runOnce();
  const result = results.find(({ message }) => isOurs(message.aggregateId));
  if (result) return { ...request, messageId: result.message.id };
  throw new ConfigurationError('deadLetter: another relay has this message. Stop it for as long as this one runs.');
}
