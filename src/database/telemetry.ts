import {
  context,
  type Context,
  type Meter,
  metrics,
  type Span,
  type SpanOptions,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

const NAME = 'payment-events-db';

/** Telemetry is never a reason for anything to fail: gives nothing where it throws. */
export function orNothing<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

/** The meter of this package. Asked each time, since an SDK may be registered later than this is loaded. */
export const ourMeter = (): Meter => metrics.getMeter(NAME);

/** Runs work in a context, or without it where that cannot be; once. */
export function inContext<T>(given: Context | undefined, work: () => Promise<T>): Promise<T> {
  let working: Promise<T> | undefined;
  const workOnce = () => (working ??= work());
  if (given) void orNothing(() => context.with(given, workOnce));
  return workOnce();
}

/**
 * Runs work in a span. Without an SDK in the process this costs next to nothing. Whatever telemetry throws, the work takes
 * place, once, and its outcome is heard.
 */
export async function traced<T>(name: string, options: () => SpanOptions, work: () => Promise<T>): Promise<T> {
  const span = orNothing((): Span => trace.getTracer(NAME).startSpan(name, options()));
  const own = orNothing(() => span && trace.setSpan(context.active(), span));
  try {
    return await inContext(own, work);
  } catch (error) {
    orNothing(() => span?.setStatus({ code: SpanStatusCode.ERROR }));
    orNothing(() => span?.setAttribute('error.type', error instanceof Error ? error.name : 'unknown'));
    throw error;
  } finally {
    orNothing(() => span?.end());
  }
}
