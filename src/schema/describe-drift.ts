import { disarm } from '../database/disarm';
import { type Drift } from './compare-catalogs';

/** One object that differs, as lines: what and how, then `-` before what is expected and `+` before what is there, then a remedy. */
export function describeDrift({ kind, object, expected, actual, remedy }: Drift): string[] {
  const [wanted, found] = [expected, actual].map((text) => text?.split('\n') ?? []) as [string[], string[]];
  const before = countWhile((index) => index < Math.min(wanted.length, found.length) && wanted[index] === found[index]);
  const after = countWhile(
    (index) => index < Math.min(wanted.length, found.length) - before && wanted.at(-1 - index) === found.at(-1 - index),
  );
  return [
    `${kind}: ${object}`,
    ...(before > 0 ? ['    …'] : []),
    ...wanted.slice(before, wanted.length - after).map((line) => `  - ${line}`),
    ...found.slice(before, found.length - after).map((line) => `  + ${line}`),
    ...(after > 0 ? ['    …'] : []),
    ...(remedy ? [`    → ${remedy}`] : []),
  ].map(disarm);
}

function countWhile(holds: (index: number) => boolean): number {
  let count = 0;
  while (holds(count)) count++;
  return count;
}
