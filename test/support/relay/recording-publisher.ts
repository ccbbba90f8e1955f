import { type Publisher, type PublishOutcome, type RelayMessage } from '../../../src/outbox/publisher';

/** Keeps what it was given, and answers as told. */
export class RecordingPublisher implements Publisher {
  readonly published: RelayMessage[] = [];
  answer: (message: RelayMessage) => PublishOutcome | Promise<PublishOutcome> = () => ({ published: true });

  async publish(messages: readonly RelayMessage[]): Promise<PublishOutcome[]> {
    const outcomes: PublishOutcome[] = [];
    for (const message of messages) {
      const outcome = await this.answer(message);
      if (outcome.published) this.published.push(message);
      outcomes.push(outcome);
    }
    return outcomes;
  }
}
