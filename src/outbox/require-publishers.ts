import { ConfigurationError } from '../errors';
import { isOne, type Publishers } from './delivery';
import { type Publisher } from './publisher';

/**
 * A message whose type has no publisher is a dead letter, so that a slip in the configuration must not make it so.
 *
 * @throws ConfigurationError it is neither a publisher nor one a message type
 */
export function requirePublishers(publishers: Publishers): void {
  const given: unknown = publishers;
  if (typeof given !== 'object' || given === null) throw NEITHER();
  if (isOne(publishers)) return;
  const entries = Object.entries(publishers as Record<string, Partial<Publisher> | null | undefined>);
  if (entries.length === 0) throw NEITHER();
  const wrong = entries.filter(([, publisher]) => typeof publisher?.publish !== 'function').map(([type]) => type);
  if (wrong.length > 0) {
    throw new ConfigurationError(`OutboxRelay: what is to publish ${wrong.join(', ')} has no method publish.`);
  }
}

const NEITHER = () =>
  new ConfigurationError(
    'OutboxRelay: the second argument must be a publisher, or an object of publishers by message type.',
  );
