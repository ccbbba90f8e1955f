import { type PublishOutcome } from '../../outbox/publisher';

/** A binding may still be made: it is tried again. */
export const unroutable = ({ exchange, routingKey }: { exchange: string; routingKey: string }): PublishOutcome => ({
  published: false,
  reason: `Exchange "${exchange}" has no queue for routing key "${routingKey}": bind one, or correct the publisher's routing key.`,
});

export const unknownExchange = (exchange: string, answer: string): PublishOutcome => ({
  published: false,
  reason: `Exchange "${exchange}" is not there: declare it, or correct the publisher's exchange. ${answer}`,
});

/** Confirmed negatively: a queue with `x-overflow: reject-publish` is full, or the broker has failed inside. */
export const rejected: PublishOutcome = {
  published: false,
  reason: 'RabbitMQ refused it (nack): look whether its queue is full, and at the log of the broker.',
};

/** @param what of the message, as the beginning of a sentence */
export const uncarried = (what: string): PublishOutcome => ({
  published: false,
  permanent: true,
  reason: `AMQP cannot carry it: ${what} more than 255 bytes in UTF-8. Discard it, and enqueue it with a shorter one.`,
});

export const largeHeaders: PublishOutcome = {
  published: false,
  permanent: true,
  reason:
    'AMQP cannot carry its headers: they are larger than 64 KiB, or than the frame_max that RabbitMQ allows. Discard it, and ' +
    'enqueue it with shorter ones.',
};

/** The client refuses it for what no limit of AMQP says. */
export const unencodable: PublishOutcome = {
  published: false,
  permanent: true,
  reason: 'The AMQP client cannot write it down: discard it, and find out what its headers and its type have in them.',
};

export const longRoutingKey: PublishOutcome = {
  published: false,
  reason: "The publisher's routingKey gives more than 255 bytes in UTF-8 for this message: correct it.",
};

export const unacceptable = (answer: string): PublishOutcome => ({
  published: false,
  permanent: true,
  reason: `RabbitMQ would never take it: correct what it names and requeue it, or discard it. ${answer}`,
});

/** A permission may still be given: it is tried again. */
export const refusedFor = (routingKey: string, answer: string): PublishOutcome => ({
  published: false,
  reason: `RabbitMQ refuses routing key "${routingKey}" to this user: permit it, or correct the publisher's routing key. ${answer}`,
});

export const noRoutingKey: PublishOutcome = {
  published: false,
  reason: "The publisher's routingKey gives no text for this message: correct it.",
};
