import { type BrokerUnavailableError, type NoAnswer } from './delivery';
import { type PublishOutcome, type RelayMessage } from './publisher';

/** More than a relay has claimed at once; what was found out about the oldest is forgotten. */
const MAX_SUSPECTS = 1_000;
/** So many different messages may be found at fault between two answers: more look like an outage. */
const MAX_JUDGED = 3;

/** A message that got no answer, among others or by itself. */
interface Suspect {
  /** What the publisher had answered by then, and how often a message that was not at fault had got no answer. */
  readonly answers: number;
  readonly silences: number;
  readonly byItself: boolean;
  /** It was found at fault. */
  readonly guilty: boolean;
}

/**
 * How a publisher is doing with one relay, and what to give it next.
 *
 * A publisher that throws or hangs may do so over one message, or since its broker is away. So its next batch is half as
 * large, down to a message by itself; every answer doubles it. A message that got no answer by itself is at fault if others
 * have got one since it was first suspected; a few at a time, since in an outage nothing gets an answer. Else it is left
 * out until another has got one, and tried by itself again. What was found at fault stays so until an innocent message
 * gets no answer by itself: then nothing can be told.
 *
 * Over turns, not inside one: a turn is a transaction that is open, with a bound.
 */
export class Standing {
  readonly #maxBatch: number;
  #batch: number;
  #answers = 0;
  #silences = 0;
  #failures = 0;
  /** Messages found at fault since the last answer. */
  #judged = 0;
  /** By id, the least recently tried first. */
  readonly #suspects = new Map<bigint, Suspect>();
  #error: BrokerUnavailableError | undefined;

  constructor(maxBatch: number) {
    this.#maxBatch = this.#batch = maxBatch;
  }

  /** Why it gave no answer the last time; undefined where it did. */
  get error(): BrokerUnavailableError | undefined {
    return this.#error;
  }

  /** How often it has failed in a row, which says how long to leave it alone. */
  get failures(): number {
    return this.#failures;
  }

  /** Which of some messages, at least one, to give it now. */
  choose(messages: readonly RelayMessage[]): readonly RelayMessage[] {
    const byId = new Map(messages.map((message) => [message.id, message]));
    const apart = [...this.#suspects].filter(([id, { byItself }]) => byItself && byId.has(id));
    const [accused] = apart.find(([, suspect]) => this.#canJudge(suspect)) ?? [];
    if (accused !== undefined) return [byId.get(accused)!];
    for (const [id] of apart) byId.delete(id);
    if (byId.size > 0) return [...byId.values()].slice(0, this.#batch);
    return messages.filter(({ id }) => id === apart[0]![0]);
  }

  answered(messages: readonly RelayMessage[]): void {
    this.#answers++;
    this.#failures = 0;
    this.#judged = 0;
    this.#error = undefined;
    this.#batch = Math.min(this.#maxBatch, this.#batch * 2);
    for (const { id } of messages) this.#suspects.delete(id);
  }

  /** @returns the refusal of a message that is at fault; else nothing becomes of them */
  failed(messages: readonly RelayMessage[], { error, because }: NoAnswer): PublishOutcome | undefined {
    const [message] = messages;
    if (because !== 'unavailable' && messages.length === 1 && this.#isAtFault(message!.id)) {
      const what = because === 'timeout' ? 'did not answer' : `threw ${nameOf(error.cause)}`;
      return { published: false, reason: `The publisher ${what} for this message alone, and answered for others.` };
    }
    const narrows = because !== 'unavailable' && messages.length > 1;
    if (narrows) this.#narrow(messages);
    // The smaller batch is tried soon; after a time-out each takes as long again, and the others are to get on.
    if (!narrows || because === 'timeout') this.#failures++;
    this.#error = error;
    return undefined;
  }

  #narrow(messages: readonly RelayMessage[]): void {
    this.#batch = Math.floor(messages.length / 2);
    for (const { id } of messages) {
      if (!this.#suspects.has(id)) this.#suspect(id, { byItself: false, guilty: false });
    }
  }

  /** A message got no answer by itself. */
  #isAtFault(id: bigint): boolean {
    const before = this.#suspects.get(id);
    const atFault = before !== undefined && this.#canJudge(before);
    const guilty = atFault || before?.guilty === true;
    if (atFault && !before.guilty) this.#judged++;
    if (!guilty) this.#silences++;
    this.#suspect(id, { byItself: true, guilty });
    return atFault;
  }

  /** Whether it is the message's fault, and not the broker's, if it gets no answer by itself now. */
  #canJudge({ answers, silences, guilty }: Suspect): boolean {
    return (guilty && silences === this.#silences) || (answers < this.#answers && this.#judged < MAX_JUDGED);
  }

  #suspect(id: bigint, found: Pick<Suspect, 'byItself' | 'guilty'>): void {
    this.#suspects.delete(id);
    this.#suspects.set(id, { ...found, answers: this.#answers, silences: this.#silences });
    if (this.#suspects.size > MAX_SUSPECTS) this.#suspects.delete(this.#suspects.keys().next().value!);
  }
}

const nameOf = (error: unknown) => (error instanceof Error ? error.name : 'something');
