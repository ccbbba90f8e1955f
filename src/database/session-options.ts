/**
 * What the package's statements depend on, whatever the role or the database has as its default:
 *
 * - READ COMMITTED, in which their concurrency is reasoned. default_transaction_deferrable means nothing under it;
 *   default_transaction_read_only stays, since it is how an owner keeps a database from being written to.
 * - The formats in which values and definitions of objects come: times are read in ISO, catalogs are compared as text.
 *
 * TimeZone stays as well: every time carries its offset, and taking over a database looks at it. Besides, each DataSource
 * pins the search path to its schema.
 */
const PINNED = [
  'default_transaction_isolation=read\\ committed',
  'DateStyle=ISO',
  'IntervalStyle=postgres',
  'bytea_output=hex',
  'extra_float_digits=1',
  'quote_all_identifiers=off',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');

/**
 * A URL without its startup options, and the options of the connection: those of the URL or of PGOPTIONS, then ours, of
 * which the last holds. `pg` would let those of the URL replace ours.
 */
export function pinSession(url: string, schema: string): { url: string; options: string } {
  let given = process.env.PGOPTIONS ?? '';
  const without = url.replace(/([?&])options=([^&]*)(&|$)/, (_found, before: string, value: string, after: string) => {
    given = decodeURIComponent(value.replaceAll('+', ' '));
    return after ? before : '';
  });
  return { url: without, options: `${given} ${PINNED} -c search_path=${schema},pg_temp`.trim() };
}
