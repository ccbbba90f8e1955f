import { classOfFence, FENCED_TABLES, fenceOf, printedFence } from '../fence/fence-sql';
import { type ResidueClass } from '../fence/residue';
import { type Drift } from '../schema/compare-catalogs';

const LINE = new RegExp(`^ {2}constraint (?:${FENCED_TABLES.map(fenceOf).join('|')}) (.*)$`, 'gm');

/**
 * What `readCatalog` says of a schema, with what it says more once it has a fence: that of the class, or else of the narrowest
 * class that any table of the database has. No class and no fence: nothing.
 */
export function withFence(catalog: string, actual: string, shard?: ResidueClass): string {
  const expected = shard ?? narrowest(actual);
  if (!expected) return catalog;
  // Tables come first, and what the body of a function says is no object.
  const [relations, ...functions] = catalog.split(/^(?=function )/m);
  const fenced = FENCED_TABLES.reduce(
    (text, table) =>
      text.replace(
        new RegExp(`^table ${table}(?: .*)?\\n`, 'm'),
        (line) => `${line}  constraint ${fenceOf(table)} ${printedFence(expected)}\n`,
      ),
    relations!,
  );
  return fenced + functions.join('');
}

function narrowest(catalog: string): ResidueClass | undefined {
  return [...catalog.matchAll(LINE)]
    .map(([, printed]) => classOfFence(printed!))
    .filter((shard) => shard !== undefined)
    .toSorted((one, other) => other.modulus - one.modulus)[0];
}

const FENCES = FENCED_TABLES.map((table) => `table ${table}: constraint ${fenceOf(table)}`);

/** Says of each fence that differs what makes it whole. */
export const withRemedyOfFences = (drift: Drift[]): Drift[] =>
  drift.map((one) =>
    FENCES.includes(one.object)
      ? { ...one, remedy: 'npx payment-events-db shard fence sets the fence of the map' }
      : one,
  );
