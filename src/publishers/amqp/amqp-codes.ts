/**
 * Whose fault it is that the broker closed channel or connection. The broker's and the account's count against no message;
 * the queue's is tried again, counted; the message's own fails it at once; of an unclear one the relay finds out.
 */
export type AmqpFault = 'broker' | 'queue' | 'message' | 'unclear';

/** The reply codes of AMQP 0-9-1 (its specification, "Constants"), with the reason why each is whose. */
const CODES: Readonly<Record<number, readonly [AmqpFault, why: string]>> = {
  311: ['message', 'CONTENT_TOO_LARGE: there is no room for so large a message'],
  313: ['queue', 'NO_CONSUMERS: nobody takes it at the moment'],
  320: ['broker', 'CONNECTION_FORCED: somebody closed the connection, or the broker is shutting down'],
  402: ['broker', 'INVALID_PATH: the virtual host is not there'],
  403: ['broker', 'ACCESS_REFUSED: the user may not write to the exchange'],
  404: ['queue', 'NOT_FOUND: the exchange can be declared'],
  405: ['queue', 'RESOURCE_LOCKED: another connection has it for itself'],
  406: ['message', 'PRECONDITION_FAILED: too large, or a header that the broker interprets is malformed'],
  // A message may have caused these; the broker does not say which.
  501: ['unclear', 'FRAME_ERROR: such as one larger than its frame_max'],
  502: ['unclear', 'SYNTAX_ERROR: a value that it cannot read'],
  503: ['unclear', 'COMMAND_INVALID: out of sequence'],
  504: ['unclear', 'CHANNEL_ERROR: the channel was not open'],
  505: ['unclear', 'UNEXPECTED_FRAME: out of sequence'],
  506: ['broker', 'RESOURCE_ERROR: it has not enough resources'],
  530: ['broker', 'NOT_ALLOWED: the virtual host, or a limit of the user'],
  540: ['unclear', 'NOT_IMPLEMENTED: something that it cannot do'],
  541: ['unclear', 'INTERNAL_ERROR: it failed inside, perhaps over a message'],
};

/** RabbitMQ refuses a user a routing key ("topic permissions") by the code of the exchange; only its text tells. */
const TOPIC_REFUSED = /access to topic '/;

export function faultOf(code: number | undefined, text: string): AmqpFault {
  if (code === 403 && TOPIC_REFUSED.test(text)) return 'queue';
  return code === undefined ? 'broker' : (CODES[code]?.[0] ?? 'unclear');
}

/** For the tests of this table. */
export const AMQP_CODES: readonly (readonly [code: number, fault: AmqpFault])[] = Object.entries(CODES).map(
  ([code, [fault]]) => [Number(code), fault],
);
