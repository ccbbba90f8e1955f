import { Logger } from '@nestjs/common';
import { PaymentEventsDbError } from '../errors';
import { type RelayMessage } from '../outbox/publisher';
import { type RelayHooks } from '../outbox/relay-reporter';
import { type GivenUpRequest, type GivenUpVoid } from '../sweeper/sweep-result';
import { type SweeperHooks } from '../sweeper/sweeper-reporter';

/** Logs what a relay has to say through Nest, and then calls the hooks that were given. What goes out is a metric, not a line each. */
export function relayLog(given: RelayHooks = {}, shard?: string): RelayHooks {
  const logger = new Logger(of('OutboxRelay', shard));
  return {
    published: (message) => given.published?.(message),
    refused: (message, reason) => {
      logger.warn(`${named(message)} was refused and is tried again: ${reason}`);
      return given.refused?.(message, reason);
    },
    failed: (message, reason) => {
      logger.error(`${named(message)} is a dead letter: ${reason}`);
      return given.failed?.(message, reason);
    },
    ...connectionLog(logger, given),
  };
}

/** The same of a sweeper. A turn is a metric, too. */
export function sweeperLog(given: SweeperHooks = {}, shard?: string): SweeperHooks {
  const logger = new Logger(of('Sweeper', shard));
  return {
    swept: (result) => given.swept?.(result),
    gaveUp: (what) => {
      logger.error(givenUp(what));
      return given.gaveUp?.(what);
    },
    waiting: () => {
      logger.log('Another sweeper is at work.');
      return given.waiting?.();
    },
    ...connectionLog(logger, given),
  };
}

/** Which one it is, where there is one for each of several databases. */
const of = (what: string, shard: string | undefined) => (shard === undefined ? what : `${what} of ${shard}`);

/** That it waits for what it works on, and that it goes on. */
const connectionLog = (logger: Logger, given: ConnectionHooks): ConnectionHooks => ({
  unavailable: (error) => {
    logger.warn(`Waits: ${textOf(error)}`);
    return given.unavailable?.(error);
  },
  recovered: () => {
    logger.log('Is back.');
    return given.recovered?.();
  },
});

/** What relays and sweepers have in common. */
type ConnectionHooks = Pick<RelayHooks & SweeperHooks, 'unavailable' | 'recovered'>;

const named = ({ id, messageType, aggregateId }: RelayMessage) =>
  `Message ${id} (${messageType}) of request ${aggregateId}`;

function givenUp(what: GivenUpVoid | GivenUpRequest): string {
  const { authRequestId, reason } = what;
  return 'processorAuthId' in what
    ? `Gave up the void of hold ${what.processorAuthId} of request ${authRequestId}: ${reason}`
    : `Gave up request ${authRequestId}, which is ${what.status}: ${reason}`;
}

/** The text of an error that is not ours may quote a row or a password. */
export const textOf = (error: unknown): string =>
  error instanceof PaymentEventsDbError ? error.message : error instanceof Error ? error.name : 'unknown error';
