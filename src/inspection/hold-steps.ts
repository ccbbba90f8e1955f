import { reasonOf } from '../auth-requests/holds/standing';
import { type InspectedHold, type InspectedMessage, type Inspection } from './inspection';

type Known = Omit<Inspection, 'next'>;

const SOON_MS = 24 * 3_600_000;

/** What a person should do about the holds of a request that may still stand, those for a person first. */
export const aboutHolds = (known: Known): string[] =>
  known.holds
    .filter(({ isListed }) => isListed)
    .flatMap((hold) => aboutHold(hold, known))
    .sort((a, b) => a.urgency - b.urgency)
    .map(({ step }) => step);

interface Step {
  /** The lower, the more urgent. */
  readonly urgency: number;
  readonly step: string;
}

function aboutHold(hold: InspectedHold, known: Known): Step[] {
  const { amountCents, currency, endedAmountCents, lastVoidError, holdExpiresAt } = hold;
  const name = `Hold ${hold.processorAuthId} at ${hold.processorName || 'the processor'}`;
  const amount = `${amountCents} ${currency}`;
  switch (reasonOf(hold)) {
    case 'void_failed':
      return forAPerson(
        `${name} (${amount}) was not voided: ${lastVoidError ?? 'no error code'}. Correct that, then run: ${requeue(hold)}. If the ` +
          `processor shows that it has ended, write down how: ${end(hold, 'voided')}`,
      );
    case 'captured_unneeded':
      return forAPerson(
        `${name} was captured (${endedAmountCents ?? amountCents} ${currency}) although nobody needed it: give the money back at the ` +
          `processor, then run: ${end(hold, 'captured')}`,
      );
    case 'never_voided':
      return forAPerson(
        `${name} (${amount}) was left by a legacy service, and nothing says that it was voided. If the processor still holds it, run: ` +
          `${requeue(hold)}. Else write down how it ended: ${end(hold, 'voided')}`,
      );
    case 'voiding':
      return aboutVoiding(name, hold, known).map((step) => ({ urgency: 1, step }));
    case 'needed':
      if (!holdExpiresAt || holdExpiresAt.getTime() > known.at.getTime() + SOON_MS) return [];
      return [
        {
          urgency: 2,
          step: `${name} (${amount}) lapses at ${holdExpiresAt.toISOString()}: see that it is captured by then, or void the request.`,
        },
      ];
  }
}

const forAPerson = (step: string): Step[] => [{ urgency: 0, step }];

/** A dead letter, and a message that the broker has refused, say for themselves what to do. */
function aboutVoiding(name: string, hold: InspectedHold, { messages, lease }: Known): string[] {
  const is = `${name} is being voided`;
  if (lease?.held)
    return [`Wait: ${is}, and worker ${lease.workerId} has the lease until ${lease.expiresAt.toISOString()}.`];
  if (!messages) return [`${is}. Let a role that may read the outbox see whether its message went out.`];
  const message = messages.findLast(({ messageType }) => messageType === 'void_request_queued');
  switch (message?.state) {
    case 'dead_letter':
    case 'refused':
      return [];
    case 'waiting':
      return [`Wait: ${is}; message ${message.id} goes to a worker at ${timeOf(message.nextAttemptAt)}.`];
    case 'pending':
      return [`${is}: message ${message.id} waits for a relay since ${timeOf(message.createdAt)}: see that one runs.`];
    case 'delivered':
      return [`${is}: ${deliveredAt(message)}`];
    case 'discarded':
    case undefined: {
      const where = message
        ? `its message was discarded at ${timeOf(message.endedAt)}`
        : 'no message of it is in the outbox';
      return [
        `${is}, and ${where}: the sweeper sends it again. If it has ended, write down how: ${end(hold, 'voided')}`,
      ];
    }
  }
}

const deliveredAt = ({ id, endedAt }: InspectedMessage) =>
  `message ${id} was delivered at ${timeOf(endedAt)}, and no worker has recorded how the void ended. Look at the workers and at ` +
  'their queue, also at its dead letters; the sweeper sends the message again.';

const timeOf = (at: Date | null) => (at instanceof Date ? at.toISOString() : String(at));

const command = (hold: InspectedHold, verb: string, ...more: string[]) =>
  [
    ...['npx payment-events-db holds', verb, hold.authRequestId],
    ...(hold.processorName === '' ? [] : ['--processor', quoted(hold.processorName)]),
    ...['--id', quoted(hold.processorAuthId), ...more, '--by <you>', '--reason <why>'],
  ].join(' ');

const requeue = (hold: InspectedHold) => command(hold, 'requeue');

const end = (hold: InspectedHold, how: string) => command(hold, 'end', '--as', how);

/** For a shell. */
const quoted = (text: string) => (/^[\w.:@/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
