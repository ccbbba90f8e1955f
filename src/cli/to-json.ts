/**
 * One line of JSON that loses nothing: a bigint becomes its digits, and an infinite time, which `pg` gives as an infinite
 * number, `"infinity"` or `"-infinity"`, where JSON.stringify would say null.
 */
export const toJson = (value: unknown): string => JSON.stringify(value, (_key, inner: unknown) => exactly(inner));

function exactly(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value === Infinity) return 'infinity';
  return value === -Infinity ? '-infinity' : value;
}
