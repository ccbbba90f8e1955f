import { type Queryable } from '../database/queryable';
import { inspectViews } from '../reporting/inspect-views';
import { classOfSchema } from '../reporting/names';
import { type Drift } from '../schema/compare-catalogs';

/**
 * The views that the reporting database reads hang on our tables, and are ours: they are no drift while they are what
 * `reporting renew` makes. What differs of them is told instead, and so are views of a second class, which a renewal that
 * was cut off leaves behind.
 */
export async function withReportingViews(session: Queryable, drift: Drift[], rolePrefix?: string): Promise<Drift[]> {
  const found = await inspectViews(session, rolePrefix);
  const unsound = new Set(found.flatMap((one) => one.unsound));
  const second: Drift[] = found.slice(1).map(({ schema }) => ({
    ...{ kind: 'unexpected', object: `schema ${schema}`, expected: null, actual: 'views of a second class' },
    remedy: 'npx payment-events-db reporting renew',
  }));
  // One that is not there any more either: a renewal has taken it away since the catalog was read.
  const isTold = ({ actual }: Drift) => {
    const [, reader, schema] = /^read by ((.+)\..+)$/.exec(actual ?? '') ?? [];
    return !schema || !classOfSchema(schema) || unsound.has(reader!);
  };
  return [...drift.filter(isTold), ...found.flatMap((one) => one.drift), ...second];
}
