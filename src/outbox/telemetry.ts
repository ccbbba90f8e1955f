import {
  type BatchObservableCallback,
  context,
  type Link,
  propagation,
  SpanKind,
  type SpanOptions,
  trace,
} from '@opentelemetry/api';
import { orNothing, ourMeter, traced } from '../database/telemetry';
import { HasMethods } from '../validation/option-rules';
import { validateSettings } from '../validation/validate-options';
import { type Outbox } from './outbox';
import { type RelayMessage } from './publisher';
import { type TurnResult } from './relay-turn';

/**
 * Runs a delivery in a span `publish outbox` that links to the trace of each message. Names after the OpenTelemetry
 * semantic conventions for messaging.
 */
export const tracedDelivery = <T>(messages: readonly RelayMessage[], publish: () => Promise<T>): Promise<T> =>
  traced('publish outbox', () => spanOf(messages), publish);

const spanOf = (messages: readonly RelayMessage[]): SpanOptions => ({
  kind: SpanKind.PRODUCER,
  attributes: {
    'messaging.operation.name': 'publish',
    'messaging.operation.type': 'send',
    'messaging.batch.message_count': messages.length,
  },
  links: messages.flatMap(linkTo),
});

function linkTo({ headers }: RelayMessage): Link[] {
  const spanContext = orNothing(() => trace.getSpanContext(propagation.extract(context.active(), headers)));
  return spanContext ? [{ context: spanContext }] : [];
}

/** Counts what went out and what was refused, by message type. They went out, whatever telemetry throws. */
export function countMessages(results: readonly TurnResult[]): void {
  orNothing(() => {
    const sent = ourMeter().createCounter('messaging.client.sent.messages', { unit: '{message}' });
    for (const { message, outcome, failed } of results) {
      const attributes = { 'messaging.operation.name': 'publish', 'messaging.message.type': message.messageType };
      sent.add(1, outcome.published ? attributes : { ...attributes, 'error.type': failed ? 'failed' : 'refused' });
    }
  });
}

class Observed {
  @HasMethods('an Outbox', 'stats')
  outbox: Outbox;
}

/**
 * Registers gauges of the outbox with OpenTelemetry: pending, waiting and failed messages, each counted to 10,000, and the
 * age of the oldest pending one, in seconds. Each export costs one query. Once a database is enough: in one process, or
 * behind a leader.
 *
 * @returns a function that takes them off again
 * @throws ConfigurationError it is no Outbox
 */
export function observeOutbox(outbox: Outbox): () => void {
  validateSettings({ Observed }, { outbox });
  const meter = ourMeter();
  const pending = meter.createObservableGauge('payment_events_db.outbox.pending', { unit: '{message}' });
  const waiting = meter.createObservableGauge('payment_events_db.outbox.waiting', { unit: '{message}' });
  const failed = meter.createObservableGauge('payment_events_db.outbox.failed', { unit: '{message}' });
  const age = meter.createObservableGauge('payment_events_db.outbox.oldest_pending_age', { unit: 's' });
  const gauges = [pending, waiting, failed, age];
  const observe: BatchObservableCallback = async (result) => {
    const stats = await outbox.stats();
    result.observe(pending, stats.pending);
    result.observe(waiting, stats.waiting);
    result.observe(failed, stats.failed);
    result.observe(age, (stats.oldestPendingAgeMs ?? 0) / 1_000);
  };
  meter.addBatchObservableCallback(observe, gauges);
  return () => meter.removeBatchObservableCallback(observe, gauges);
}
