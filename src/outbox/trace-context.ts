import { context, propagation } from '@opentelemetry/api';

/**
 * Headers with the active trace context added (W3C Trace Context: `traceparent`, `tracestate`), so that what a message
 * causes is seen in the trace that caused it. Without an OpenTelemetry SDK in the process nothing is added. What the
 * caller gave wins.
 */
export function withTraceContext(headers: Record<string, string> = {}): Record<string, string> {
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return { ...carrier, ...headers };
}
