import pc from 'picocolors';
import { type FieldValue } from '../read-model/differences';
import { type HoldDifference } from '../read-model/hold-differences';
import { toJson } from './to-json';

/** A column, and what it holds and should hold; not told of a payment token. */
interface Difference {
  field: string;
  inRow?: FieldValue;
  byEvents?: FieldValue;
}

/** Prints a table of columns and their two values. Texts are quoted as JSON, which disarms what a terminal would obey. */
export function printDifferences(differences: readonly Difference[], [first, second]: [string, string]): void {
  if (differences.length === 0) return;
  const lines = differences.map(({ field, inRow, byEvents }) =>
    inRow === undefined ? [field, '(not shown)', '(not shown)'] : [field, show(inRow), show(byEvents)],
  );
  const [fields, values] = [0, 1].map((column) => Math.max(first.length, ...lines.map((line) => line[column]!.length)));
  const print = (line: string[]) => `  ${line[0]!.padEnd(fields!)}  ${line[1]!.padEnd(values!)}  ${line[2]}`;
  console.log(pc.dim(print(['', first, second])));
  for (const line of lines) console.log(print(line));
}

const show = (value: FieldValue | undefined) => (value === null ? '–' : toJson(value));

const HEADLINES = {
  differs: 'differs from the events',
  missing: 'has no row, and the events tell of it',
  unexpected: 'has a row, and no event tells of it',
};

/** Prints each hold of a request that differs, with its table. */
export function printHoldDifferences(holds: readonly HoldDifference[] | undefined, columns: [string, string]): void {
  for (const { processorName, processorAuthId, kind, differences } of holds ?? []) {
    console.log(`  hold ${toJson(processorName)} ${toJson(processorAuthId)} ${HEADLINES[kind]}`);
    printDifferences(differences, columns);
  }
}
