import { BrokerUnavailableError } from '../../outbox/delivery';
import { type PublishOutcome } from '../../outbox/publisher';

/** What SQS calls faults of a message's own: it will never take it as it is. */
const FAULTS_OF_A_MESSAGE = [
  'BatchRequestTooLong',
  'InvalidAttributeValue',
  'InvalidMessageContents',
  'InvalidParameterCombination',
  'InvalidParameterValue',
  'MissingParameter',
];

export const isFaultOfMessage = (code: string): boolean => FAULTS_OF_A_MESSAGE.includes(code);

/** A message that SQS refused while it took others: for good where the message itself is at fault, else for now. */
export const refused = (code: string, message = ''): PublishOutcome => ({
  published: false,
  permanent: isFaultOfMessage(code),
  reason: `SQS refused it: ${code}${message && `: ${message}`}`,
});

export const unknownQueue = (url: string): PublishOutcome => ({
  published: false,
  reason: `The queue ${url} does not exist: create it, or correct the publisher's queues.`,
});

/**
 * A request that failed as a whole. What SQS says is left out, as is the cause: of a wrong signature it quotes the request's
 * headers, a session token among them.
 */
export function unavailable(error: unknown): BrokerUnavailableError {
  const { name, message, code, $metadata } = error as Error & {
    code?: string;
    $metadata?: { httpStatusCode?: number };
  };
  const status = $metadata?.httpStatusCode;
  if (status === undefined) return new BrokerUnavailableError(`SQS cannot be asked: ${code ? message : name}.`);
  return new BrokerUnavailableError(
    `SQS serves no requests: ${name} (HTTP ${status}). Where it is not an outage, look at credentials and permissions.`,
  );
}
