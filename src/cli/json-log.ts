/** One line of a log: a time, an event and what belongs to it. */
export const log = (event: string, more: object = {}) =>
  console.log(JSON.stringify({ time: new Date().toISOString(), event, ...more }));

/** What was thrown, by code or name: its text may quote an address with a password. */
export function causeOf(error: unknown): string | undefined {
  const { cause } = error as { cause?: unknown };
  const { code, cause: inner } = (cause ?? {}) as { code?: unknown; cause?: unknown };
  if (typeof code === 'string') return code;
  return inner instanceof Error ? causeOf(cause) : cause instanceof Error ? cause.name : undefined;
}
