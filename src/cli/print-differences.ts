import pc from 'picocolors';
import { type FieldDifference } from '../read-model/differences';
import { toJson } from './to-json';

/** Prints a table of columns and their two values. Texts are quoted as JSON, which disarms what a terminal would obey. */
export function printDifferences(differences: FieldDifference[], [first, second]: [string, string]): void {
  if (differences.length === 0) return;
  const lines = differences.map(({ field, inRow, byEvents }) =>
    inRow === undefined ? [field, '(not shown)', '(not shown)'] : [field, show(inRow), show(byEvents)],
  );
  const [fields, values] = [0, 1].map((column) => Math.max(first.length, ...lines.map((line) => line[column]!.length)));
  const print = (line: string[]) => `  ${line[0]!.padEnd(fields!)}  ${line[1]!.padEnd(values!)}  ${line[2]}`;
  console.log(pc.dim(print(['', first, second])));
  for (const line of lines) console.log(print(line));
}

const show = (value: FieldDifference['inRow']) => (value === null ? '–' : toJson(value));
