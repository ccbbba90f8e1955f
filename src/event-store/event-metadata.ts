/** What is known about an event beside its content. Nothing personal and no card data. */
export interface EventMetadata {
  /** Groups all that one incoming request caused. */
  readonly correlationId?: string;
  /** The event or message that caused this one. */
  readonly causationId?: string;
  /** Further fields, such as `worker_id` or `idempotency_key`. */
  readonly [field: string]: unknown;
}

const COLUMN_FIELDS = new Map([
  ['correlationId', 'correlation_id'],
  ['causationId', 'causation_id'],
]);

/** As `payment_events.metadata` holds it: JSON text, in snake case. */
export function toColumn(metadata: EventMetadata): string {
  // Most have neither; JSON leaves out what is undefined.
  if (metadata.correlationId === undefined && metadata.causationId === undefined) return JSON.stringify(metadata);
  const fields = Object.entries(metadata).map(([field, value]) => [COLUMN_FIELDS.get(field) ?? field, value]);
  return JSON.stringify(Object.fromEntries(fields));
}

/** Legacy workers wrote JSON text inside a JSON string, and some legacy rows hold nothing. */
export function fromColumn(stored: unknown): EventMetadata {
  if (typeof stored === 'string') return fromColumn(parse(stored));
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored)) return {};
  const { correlation_id, causation_id, ...more } = stored as Record<string, unknown>;
  return {
    ...more,
    ...(typeof correlation_id === 'string' && { correlationId: correlation_id }),
    ...(typeof causation_id === 'string' && { causationId: causation_id }),
  };
}

function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'string' ? undefined : value;
  } catch {
    return undefined;
  }
}
