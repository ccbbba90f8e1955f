import { isClosed, isOpen } from '../auth-requests/statuses';
import { aboutHolds } from './hold-steps';
import { type InspectedMessage, type Inspection } from './inspection';

type Known = Omit<Inspection, 'next'>;

/** What a person should do about a request, the most urgent first. Never empty. */
export function nextSteps(known: Known): string[] {
  const steps = [
    ...aboutDifference(known),
    ...aboutMessages(known),
    ...aboutHolds(known),
    ...aboutAttempts(known),
    ...aboutWaiting(known),
    ...aboutRelease(known),
  ];
  if (steps.length > 0) return steps;
  if (known.lease?.held) return [`Wait: ${worker(known)}.`];
  return [
    known.notShown.some(({ part }) => part === 'difference')
      ? 'Nothing, as far as this role can see: whether the row says what the events say, `verify` knows.'
      : 'Nothing.',
  ];
}

const worker = ({ lease }: Known) => `worker ${lease!.workerId} has the lease until ${time(lease!.expiresAt)}`;

const time = (at: Date | null) => (at instanceof Date && !Number.isNaN(at.getTime()) ? at.toISOString() : String(at));

function aboutDifference({ authRequestId, difference, request, events }: Known): string[] {
  if (difference?.kind === 'events_unfoldable') {
    return [
      `Event ${difference.sequenceNumber} is missing or cannot be read (${difference.reason}), so nothing says what this ` +
        'request is: bring it back from a backup, or run the version of its writer.',
    ];
  }
  const rebuild = `npx payment-events-db rebuild ${authRequestId}`;
  if (difference?.kind === 'row_missing') return [`It has events and no row. Find out why, then run: ${rebuild}`];
  if (difference) {
    const status = difference.differences.find(({ field }) => field === 'status');
    const mayHold = status?.inRow === 'AUTHORIZED' ? ' Make sure first that no money is held for it.' : '';
    return [`The row does not say what the events say. Find out who changed it, then run: ${rebuild}.${mayHold}`];
  }
  const last = events.at(-1)?.sequenceNumber ?? 0;
  if (request && request.lastEventSequence === last) return [];
  return ['The row is not of the last event. Let a role that may read events run verify, which says what differs.'];
}

function aboutMessages({ messages }: Known): string[] {
  return (messages ?? []).flatMap((message) => {
    if (message.state === 'dead_letter') {
      const held = message.messageType === 'void_request_queued' ? ' Until then the processor holds the money.' : '';
      return [
        `Message ${message.id} (${message.messageType}) was given up after ${message.attempts} attempts: correct what its ` +
          `last error names, then run: npx payment-events-db outbox requeue ${message.id}.${held}`,
      ];
    }
    if (message.state === 'refused' && message.behind === null) {
      return [
        `The broker has refused message ${message.id} ${message.attempts} times: correct what its last error names. It is ` +
          `tried again at ${time(message.nextAttemptAt)}; at once with: npx payment-events-db outbox requeue ${message.id}`,
      ];
    }
    return [];
  });
}

function aboutAttempts(known: Known): string[] {
  const { request, lease, canBeAsked, messages } = known;
  if (!request?.attemptOpen) return [];
  if (lease?.held) return [`Wait: ${worker(known)}, and may be asking the processor.`];
  const gone = lease ? ` The lease of worker ${lease.workerId} has expired, so that another may take it.` : '';
  if (canBeAsked) {
    const queued = undelivered(messages, 'auth_request_queued');
    const how = queued
      ? `Message ${queued.id} (auth_request_queued) sends a worker to it${queued.state === 'waiting' ? ` at ${time(queued.nextAttemptAt)}` : ''}.`
      : 'Send it to a worker again, as an auth_request_queued message does: its startAttempt says what to ask, and under ' +
        'which version.';
    return [`Nobody has recorded what the processor answered, so that money may be held.${gone} ${how}`];
  }
  const versions = request.unansweredVersions.map((version) => `configVersion '${version}'`).join(', ');
  return [
    `Nobody can be asked how its attempt ended: look at the processor, release what it holds, then write that down ` +
      `with closeUnanswered (${versions}).`,
  ];
}

const undelivered = (messages: readonly InspectedMessage[] | null, type: string) =>
  messages?.find(({ messageType, endedAt }) => messageType === type && endedAt === null);

/** An open request that nobody is at work on, and without an attempt that is open. */
function aboutWaiting({ request, messages, lease, at }: Known): string[] {
  if (!request || !isOpen(request.status) || request.attemptOpen || lease?.held) return [];
  if (!messages)
    return ['It waits for a worker. Let a role that may read the outbox see whether its message went out.'];
  if (messages.some(({ state }) => state === 'dead_letter' || state === 'refused')) return [];
  const queued = undelivered(messages, 'auth_request_queued');
  if (queued?.state === 'waiting')
    return [`Wait: message ${queued.id} goes to a worker at ${time(queued.nextAttemptAt)}.`];
  if (queued) {
    return [
      `Message ${queued.id} waits for a relay since ${time(queued.createdAt)}: see that one runs, and how far it is.`,
    ];
  }
  const last = messages.at(-1);
  const where = !last
    ? 'No message of it is in the outbox.'
    : last.state === 'discarded'
      ? `Its message was discarded at ${time(last.endedAt)}.`
      : `Its message was delivered at ${time(last.endedAt)} and no worker has taken it: look at the workers and at their ` +
        'queue, also at its dead letters.';
  const age = Math.round((at.getTime() - request.createdAt.getTime()) / 60_000);
  return [`${where} It is ${age} minutes old: send it to a worker again (auth_request_queued), or expire it.`];
}

/** Of an authorization that no event reports, and that is no hold: clients of earlier versions write such rows. */
function aboutRelease({ request, messages, holds }: Known): string[] {
  if (!request || !messages || holds.length > 0) return [];
  const released = messages.findLast(({ messageType }) => messageType === 'void_request_queued');
  if (released?.state === 'delivered') {
    return [
      `Message ${released.id}, to release an authorization, was delivered at ${time(released.endedAt)}. Whether the processor ` +
        'did so, only the processor can say.',
    ];
  }
  if (released?.state === 'discarded') {
    return [
      `Message ${released.id}, to release an authorization, was discarded: see at the processor that nothing is held.`,
    ];
  }
  if (released?.state === 'pending') return [`Message ${released.id}, to release an authorization, waits for a relay.`];
  if (!released && isClosed(request.status) && request.processorAuthId !== null && !request.attemptOpen) {
    return ['It is closed and names an authorization: see at the processor that it was released.'];
  }
  return [];
}
