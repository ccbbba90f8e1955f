import { IsOptional } from 'class-validator';
import { BrokerUnavailableError } from '../outbox/delivery';
import {
  decodeOutboxMessage,
  isOutboxMessageType,
  type OutboxMessageBody,
  type OutboxMessageType,
} from '../outbox/message-codec';
import { type Publisher, type PublishOutcome, type RelayMessage } from '../outbox/publisher';
import { Uuid, WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { MessageNotPublishedError } from './errors';

/** Which message to wait for. */
export class WaitForMessageOptions {
  /** Of this request. Default: of any. */
  @IsOptional()
  @Uuid()
  authRequestId?: string;

  /** At most so long, in milliseconds: 0, which only looks, to a day. Default 5,000. */
  @IsOptional()
  @WholeNumber(0, 86_400_000)
  timeoutMs?: number;
}

/** A message as {@link RecordingPublisher.waitFor} gives it: decoded, where its type is one of this package. */
export type AwaitedMessage<T extends string> = T extends OutboxMessageType ? OutboxMessageBody<T> : RelayMessage;

/** How a message is refused. */
export type Refusal = Omit<PublishOutcome & { published: false }, 'published'>;

/** How many to fail. */
class FailNextOptions {
  @WholeNumber(1, 1_000_000)
  count: number;
}

/**
 * A {@link Publisher} for tests. It takes what a relay hands it, keeps it, and fails when it is told to.
 *
 * ```ts
 * const publisher = new RecordingPublisher();
 * publisher.throwNext(1);                                  // the broker is away once
 * new OutboxRelay(dataSource, publisher).start();
 * const { data } = await publisher.waitFor('auth_request_queued', { authRequestId });
 * ```
 */
export class RecordingPublisher implements Publisher {
  /** What was published, in its order. What the relay had to deliver again is here again. */
  readonly published: RelayMessage[] = [];

  /** The outcome of a message that no {@link refuseNext} is about. Default: it is published. */
  answer: (message: RelayMessage) => PublishOutcome | Promise<PublishOutcome> = () => ({ published: true });

  readonly #refusals: Refusal[] = [];
  readonly #errors: Error[] = [];
  readonly #waiting = new Set<() => void>();

  /** The published messages of this package's types, decoded. */
  get bodies(): OutboxMessageBody[] {
    return this.published
      .filter(({ messageType }) => isOutboxMessageType(messageType))
      .map(({ messageType, payload }) => decodeOutboxMessage(messageType, payload));
  }

  /**
   * Refuses the next messages, so many.
   *
   * @param refusal default: by their own fault, to be tried again
   * @throws ConfigurationError
   */
  refuseNext(count: number, refusal: Refusal = { reason: 'The test refuses it.' }): void {
    validateSettings({ FailNextOptions }, { count });
    for (let left = count; left > 0; left--) this.#refusals.push(refusal);
  }

  /**
   * Throws at the next calls, so many, each of which is about all messages of a turn.
   *
   * @param error default: the broker is away
   * @throws ConfigurationError
   */
  throwNext(count: number, error: Error = new BrokerUnavailableError('The broker is away: the test says so.')): void {
    validateSettings({ FailNextOptions }, { count });
    for (let left = count; left > 0; left--) this.#errors.push(error);
  }

  /**
   * The first published message of a type, as soon as it is there.
   *
   * @throws MessageNotPublishedError the time was up; it says what was published instead
   * @throws ConfigurationError naming each option that is wrong
   */
  async waitFor<T extends string>(messageType: T, options?: WaitForMessageOptions): Promise<AwaitedMessage<T>> {
    const { authRequestId, timeoutMs = 5_000 } = validateSettings({ WaitForMessageOptions }, options);
    const find = () =>
      this.published.find(
        (message) =>
          message.messageType === messageType &&
          (authRequestId === undefined || message.aggregateId === authRequestId.toLowerCase()),
      );
    const found = find() ?? (await this.#next(find, timeoutMs));
    if (!found)
      throw new MessageNotPublishedError(
        messageType,
        this.published.map((message) => message.messageType),
      );
    const { payload } = found;
    return (isOutboxMessageType(messageType) ? decodeOutboxMessage(messageType, payload) : found) as AwaitedMessage<T>;
  }

  /** For the relay. */
  async publish(messages: readonly RelayMessage[]): Promise<PublishOutcome[]> {
    const error = this.#errors.shift();
    if (error) throw error;
    const outcomes: PublishOutcome[] = [];
    for (const message of messages) {
      const refusal = this.#refusals.shift();
      const outcome = refusal ? ({ published: false, ...refusal } as const) : await this.answer(message);
      if (outcome.published) this.published.push(message);
      outcomes.push(outcome);
    }
    for (const look of this.#waiting) look();
    return outcomes;
  }

  #next(find: () => RelayMessage | undefined, timeoutMs: number): Promise<RelayMessage | undefined> {
    return new Promise((done) => {
      const end = (found: RelayMessage | undefined) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        done(found);
      };
      const look = () => {
        const found = find();
        if (found) end(found);
      };
      const timer = setTimeout(() => end(undefined), timeoutMs);
      this.#waiting.add(look);
    });
  }
}
