import { isCardNumber, LONGEST, SHORTEST } from './card-number';

/** What people and pages write between digits: blanks, also such that do not break, and dashes. */
const SEPARATOR = String.raw`[ \t\u00a0\u2007\u2009\u202f\u2010-\u2013-]{0,3}`;

/** Without so many digits one after another there is nothing to look at: most texts end here. */
const ENOUGH_DIGITS = new RegExp(String.raw`[0-9](?:${SEPARATOR}[0-9]){${SHORTEST - 1}}`);

/**
 * A run of digits that is no part of a longer word or number, nor the fraction of one. Letters are the Latin ones: in scripts
 * without blanks a number follows the word before it at once.
 */
const RUN = new RegExp(
  String.raw`(?<![0-9A-Za-z]|[0-9]\.)[0-9](?:${SEPARATOR}[0-9]){${SHORTEST - 1},}(?![0-9A-Za-z])`,
  'g',
);

/** Ids of hexadecimal digits in groups, which may be decimal by chance: UUIDs and a W3C `traceparent`. */
const IDS =
  /(?<![0-9a-z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?![0-9a-z])/gi;

/** How card numbers are printed, by the lengths of their groups, where other digits stand beside them. */
const PRINTED: readonly (readonly number[])[] = [
  [4, 4, 4, 4, 3],
  [4, 4, 4, 4],
  [4, 6, 5],
  [4, 6, 4],
  [6, 13],
];

/** A part of a text: from `start` to before `end`. */
interface Part {
  readonly start: number;
  readonly end: number;
}

/** Whether it is worth looking for one. */
export const hasEnoughDigits = (text: string): boolean => text.length >= SHORTEST && ENOUGH_DIGITS.test(text);

/** Whether a text holds what looks like a card number. */
export const textHolds = (text: string): boolean => hasEnoughDigits(text) && cardNumbersIn(text).length > 0;

/**
 * The text with the first six digits and the last four of each card number, and X in place of what was between: as long as
 * it was. X is a letter, so that no digits beside it are a run of their own, and masking again changes nothing.
 *
 * @param lengthOf in what the length is counted. Default: UTF-16 code units, as `length` has them
 */
export function maskText(text: string, lengthOf = (part: string): number => part.length): string {
  if (!hasEnoughDigits(text)) return text;
  let masked = '';
  let from = 0;
  for (const { start, end } of cardNumbersIn(text)) {
    const digits = digitsOf(text.slice(start, end));
    const hidden = 'X'.repeat(lengthOf(text.slice(start, end)) - 10);
    masked += text.slice(from, start) + digits.slice(0, 6) + hidden + digits.slice(-4);
    from = end;
  }
  return masked + text.slice(from);
}

/** The card numbers in a text, in their order. */
function cardNumbersIn(text: string): Part[] {
  const without = text.replace(IDS, (id) => 'x'.repeat(id.length));
  return [...without.matchAll(RUN)].flatMap(({ 0: run, index }) => {
    const groups = [...run.matchAll(/[0-9]+/g)].map((group) => ({
      start: index + group.index,
      end: index + group.index + group[0].length,
    }));
    return cardNumbersAmong(text, groups);
  });
}

/**
 * A card number is all of the groups, or some of them that are printed as one, such as those before an expiry date. What
 * is left beside it is looked at as if it stood alone, as it does once the number is masked.
 */
function cardNumbersAmong(text: string, groups: readonly Part[]): Part[] {
  const found: Part[] = [];
  /** Takes what is between two groups, where that is a card number whole. */
  const take = (from: number, to: number): boolean => {
    const is = isWhole(text, groups, from, to);
    if (is) found.push({ start: groups[from]!.start, end: groups[to - 1]!.end });
    return is;
  };
  let from = 0;
  for (let first = 0; first < groups.length; first++) {
    if (first === from && take(from, groups.length)) break;
    const count = printedFrom(text, groups, first);
    if (count === 0) continue;
    take(from, first);
    take(first, first + count);
    from = first + count;
    first = from - 1;
  }
  return found;
}

/** How many groups from there on are a card number as it is printed; 0 for none. */
function printedFrom(text: string, groups: readonly Part[], first: number): number {
  if (isWhole(text, groups, first, first + 1)) return 1;
  const printed = PRINTED.find(
    (lengths) =>
      first + lengths.length <= groups.length &&
      lengths.every((length, index) => groups[first + index]!.end - groups[first + index]!.start === length) &&
      isWhole(text, groups, first, first + lengths.length),
  );
  return printed?.length ?? 0;
}

/** Whether the groups from one to before another are a card number together. */
function isWhole(text: string, groups: readonly Part[], from: number, to: number): boolean {
  let digits = '';
  for (let index = from; index < to && digits.length <= LONGEST; index++) {
    const { start, end } = groups[index]!;
    // One digit too many is enough, where a group is as long as the text.
    digits += text.slice(start, Math.min(end, start + LONGEST + 1));
  }
  return digits.length >= SHORTEST && digits.length <= LONGEST && isCardNumber(digits);
}

const digitsOf = (text: string): string => text.replace(/[^0-9]/g, '');
