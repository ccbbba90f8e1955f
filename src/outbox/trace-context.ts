import { context, propagation } from '@opentelemetry/api';

/** What every broker takes, the narrowest of them each time. */
const NAME = /^(?!(aws|amazon)\.)[\w-]+(\.[\w-]+)*$/i;
const MAX_NAME_LENGTH = 255;
const VALUE = /^[\t\x20-\x7e]+$/;
const MAX_BYTES = 8_192;
/** Ten attributes of SQS without the three that its publisher writes. */
const MAX_HEADERS = 7;
/** Names that mean something to a publisher, to AMQP or to HTTP. */
const RESERVED = new Set(
  (
    'content-type message-type outbox-id idempotency-key x-publish-token cc bcc x-death x-delay authorization cookie ' +
    'host expect connection content-length date keep-alive te trailer transfer-encoding upgrade'
  ).split(' '),
);
const WRITTEN_BY_PUBLISHERS = ['content-type', 'message-type', 'outbox-id'];

/** The most important first: what does not fit is left out from the end. */
const FIRST = ['traceparent', 'tracestate'];
const KNOWN = [...FIRST, 'baggage', 'b3', 'uber-trace-id', 'x-amzn-trace-id'];
const KNOWN_PREFIX = /^(x-b3|uberctx|ot-tracer|ot-baggage)-/;

/**
 * Headers with the active trace context added (W3C Trace Context: `traceparent`, `tracestate`), so that what a message
 * causes is seen in the trace that caused it. Without an OpenTelemetry SDK in the process nothing is added.
 *
 * What the caller gave wins and stays as it is. What is added never makes a message undeliverable: a header is left out
 * that some broker does not take (an empty value, other characters than printable ASCII, an odd or very long name), and so
 * is what goes beyond seven headers in all or 8,192 bytes of added ones. `traceparent` is the first to get a place, then
 * `tracestate`, then the others in the order of the propagators.
 */
export function withTraceContext(headers: Record<string, string> = {}): Record<string, string> {
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  // The state of a trace says nothing beside another trace.
  const taken = new Set([...given, ...(given.has('traceparent') ? ['tracestate'] : [])]);
  const own = [...given].filter((name) => !WRITTEN_BY_PUBLISHERS.includes(name)).length;
  const added: [string, string][] = [];
  let bytes = 0;
  for (const [name, value] of byImportance(injected())) {
    if (added.length + own >= MAX_HEADERS) break;
    if (!fits(name, value) || taken.has(name.toLowerCase())) continue;
    if (bytes + name.length + value.length > MAX_BYTES) continue;
    bytes += name.length + value.length;
    taken.add(name.toLowerCase());
    added.push([name, value]);
  }
  return { ...Object.fromEntries(added), ...headers };
}

/** The headers that are none of a trace, for a message that is too large with them. */
export function withoutTraceContext(headers: Readonly<Record<string, string>>): Record<string, string> {
  const names = new Set([...KNOWN, ...fields()]);
  const isOfTrace = (name: string) => names.has(name.toLowerCase()) || KNOWN_PREFIX.test(name.toLowerCase());
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isOfTrace(name)));
}

function injected(): [string, unknown][] {
  const carrier: Record<string, unknown> = {};
  try {
    propagation.inject(context.active(), carrier);
  } catch {
    // A propagator that throws may have written something before.
  }
  return Object.entries(carrier);
}

function fields(): string[] {
  try {
    return propagation.fields().map((name) => name.toLowerCase());
  } catch {
    return [];
  }
}

/** Else in the order in which they came: sorting is stable. */
const byImportance = (headers: [string, unknown][]) => headers.sort(([a], [b]) => rank(a) - rank(b));

function rank(name: string): number {
  const place = FIRST.indexOf(name.toLowerCase());
  return place === -1 ? FIRST.length : place;
}

/** Whether every broker takes it. */
function fits(name: string, value: unknown): value is string {
  return (
    NAME.test(name) &&
    name.length <= MAX_NAME_LENGTH &&
    !RESERVED.has(name.toLowerCase()) &&
    typeof value === 'string' &&
    VALUE.test(value) &&
    value.trim() !== ''
  );
}
