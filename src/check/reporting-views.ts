import { type Queryable } from '../database/queryable';
import { inspectViews } from '../reporting/inspect-views';
import { type Drift } from '../schema/compare-catalogs';

/**
 * The views that the reporting database reads hang on our tables, and are ours: they are no drift while they are what
 * `reporting renew` makes. What differs of them is told instead, and so are views of a second class, which a renewal that
 * was cut off leaves behind.
 */
export async function withReportingViews(session: Queryable, drift: Drift[], rolePrefix?: string): Promise<Drift[]> {
  const found = await inspectViews(session, rolePrefix);
  const ours = new Set(found.flatMap(({ sound }) => sound.map((name) => `read by ${name}`)));
  const second: Drift[] = found.slice(1).map(({ schema }) => ({
    ...{ kind: 'unexpected', object: `schema ${schema}`, expected: null, actual: 'views of a second class' },
    remedy: 'npx payment-events-db reporting renew',
  }));
  return [...drift.filter(({ actual }) => !ours.has(actual ?? '')), ...found.flatMap((one) => one.drift), ...second];
}
