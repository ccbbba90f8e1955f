import {
  type BatchObservableCallback,
  context,
  type Link,
  metrics,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { HasMethods } from '../validation/option-rules';
import { validateSettings } from '../validation/validate-options';
import { type Outbox } from './outbox';
import { type RelayMessage } from './publisher';
import { type TurnResult } from './relay-turn';

const NAME = 'payment-events-db';

/**
 * Runs a delivery in a span `publish outbox` that links to the trace of each message. Names after the OpenTelemetry
 * semantic conventions for messaging. Without an SDK in the process this costs next to nothing.
 *
 * The delivery is what counts: whatever telemetry throws, it takes place, once, and its outcome is heard.
 */
export async function traced<T>(messages: readonly RelayMessage[], publish: () => Promise<T>): Promise<T> {
  const span = orNothing(() => startSpan(messages));
  let publishing: Promise<T> | undefined;
  const publishOnce = () => (publishing ??= publish());
  if (span) void orNothing(() => context.with(trace.setSpan(context.active(), span), publishOnce));
  try {
    return await publishOnce();
  } catch (error) {
    orNothing(() => span?.setStatus({ code: SpanStatusCode.ERROR }));
    orNothing(() => span?.setAttribute('error.type', error instanceof Error ? error.name : 'unknown'));
    throw error;
  } finally {
    orNothing(() => span?.end());
  }
}

function startSpan(messages: readonly RelayMessage[]): Span {
  const attributes = {
    'messaging.operation.name': 'publish',
    'messaging.operation.type': 'send',
    'messaging.batch.message_count': messages.length,
  };
  const options = { kind: SpanKind.PRODUCER, attributes, links: messages.flatMap(linkTo) };
  return trace.getTracer(NAME).startSpan('publish outbox', options);
}

function linkTo({ headers }: RelayMessage): Link[] {
  const spanContext = orNothing(() => trace.getSpanContext(propagation.extract(context.active(), headers)));
  return spanContext ? [{ context: spanContext }] : [];
}

/** Counts what went out and what was refused, by message type. They went out, whatever telemetry throws. */
export function countMessages(results: readonly TurnResult[]): void {
  orNothing(() => {
    const meter = metrics.getMeter(NAME);
    const sent = meter.createCounter('messaging.client.sent.messages', { unit: '{message}' });
    for (const { message, outcome, failed } of results) {
      const attributes = { 'messaging.operation.name': 'publish', 'messaging.message.type': message.messageType };
      sent.add(1, outcome.published ? attributes : { ...attributes, 'error.type': failed ? 'failed' : 'refused' });
    }
  });
}

function orNothing<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
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
  validateSettings(Observed, { outbox });
  const meter = metrics.getMeter(NAME);
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
