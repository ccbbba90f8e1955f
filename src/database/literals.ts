/** Names of ours as a list of SQL literals: `'payment_events', 'outbox'`. */
export const literals = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ');
