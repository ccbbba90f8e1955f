import { BrokerUnavailableError } from '../../outbox/delivery';
import { type PublishOutcome } from '../../outbox/publisher';
import { faultOf } from './sqs-codes';

/** What SQS said of one entry of a batch. Of a code that nobody knows it says itself whose fault it is. */
export function refused(code: string, { message = '', senderFault = true } = {}): PublishOutcome {
  const fault = faultOf(code);
  const brokerFault = fault === 'broker' || (fault === 'unclear' && !senderFault);
  return {
    published: false,
    permanent: fault === 'message',
    ...(brokerFault && { brokerFault }),
    reason: `SQS refused it: ${code}${message && `: ${message}`}`,
  };
}

export const unknownQueue = (url: string): PublishOutcome => ({
  published: false,
  reason: `The queue ${url} does not exist: create it, or correct the publisher's queues.`,
});

/** Of a request that failed as a whole: nothing against its messages. */
export const unavailable = (error: unknown): PublishOutcome => ({
  published: false,
  brokerFault: true,
  reason: describe(error),
});

/** Of a request that failed as a whole, perhaps over one of its messages. */
export class UnclearAnswerError extends Error {
  constructor(error: unknown) {
    super(describe(error));
    this.name = (error as Error).name;
  }
}

export const outageOf = (outcomes: readonly PublishOutcome[]): BrokerUnavailableError | undefined => {
  const [first] = outcomes;
  const isOutage = outcomes.every((outcome) => !outcome.published && outcome.brokerFault === true);
  return first && !first.published && isOutage ? new BrokerUnavailableError(first.reason) : undefined;
};

/** Whose fault it is that a request failed as a whole. */
export function faultOfRequest(error: unknown): ReturnType<typeof faultOf> {
  const { name, code, $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode;
  if (status !== undefined) {
    const fault = faultOf(name);
    return fault === 'unclear' && status >= 500 ? 'broker' : fault;
  }
  // Nothing was sent: the network, the credentials, or the client could not write down what it was given.
  const isBug = error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
  return isBug && code === undefined ? 'unclear' : 'broker';
}

interface SdkError extends Error {
  code?: string;
  $metadata?: { httpStatusCode?: number };
}

/**
 * What SQS says is left out, as is the cause: of a wrong signature it quotes the request's headers, a session token among
 * them.
 */
function describe(error: unknown): string {
  const { name, message, code, $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode;
  if (status === undefined) return `SQS cannot be asked: ${code ? message : name}.`;
  return `SQS serves no requests: ${name} (HTTP ${status}). If it is not an outage, check credentials and permissions.`;
}
