/** What is known about an event beside its content. Nothing personal and no card data. */
export interface EventMetadata {
  /** Groups all that one incoming request caused. */
  readonly correlationId?: string;
  /** The event or message that caused this one. */
  readonly causationId?: string;
  /** Further fields, such as `worker_id` or `idempotency_key`. */
  readonly [field: string]: unknown;
}

/** As `payment_events.metadata` holds it: JSON text, in snake case. What is null or undefined is not given. */
export function toColumn({ correlationId, causationId, ...more }: EventMetadata): string {
  const column: Record<string, unknown> = more;
  if (correlationId != null) column.correlation_id = correlationId;
  if (causationId != null) column.causation_id = causationId;
  return JSON.stringify(column);
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
