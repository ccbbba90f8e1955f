/** The check digit behind these digits (Luhn). */
function checkDigit(digits: string): number {
  let sum = 0;
  for (const [index, digit] of [...digits].reverse().entries()) {
    const weighed = index % 2 === 0 ? 2 * Number(digit) : Number(digit);
    sum += Math.floor(weighed / 10) + (weighed % 10);
  }
  return (10 - (sum % 10)) % 10;
}

/**
 * A number that nobody's card has to have: begins with these digits, has so many, and ends with these where they are given;
 * of those that there are, the one with this index.
 */
export function aCardNumber(prefix: string, length: number, suffix?: string, index = 0): string {
  if (suffix === undefined) {
    const body = prefix.padEnd(length - 1, '1');
    return `${body}${checkDigit(body)}`;
  }
  const between = length - prefix.length - suffix.length;
  for (let middle = 0, found = 0; middle < 10 ** between; middle++) {
    const body = `${prefix}${String(middle).padStart(between, '0')}${suffix}`;
    if (checkDigit(body.slice(0, -1)) === Number(body.at(-1)) && found++ === index) return body;
  }
  throw new Error('there are not so many');
}

/** One of each issuer in each of its lengths. */
export const CARD_NUMBERS: readonly string[] = (
  [
    ['4', [16, 18, 19]],
    ['51', [16]],
    ['55', [16]],
    ['2221', [16]],
    ['2720', [16]],
    ['34', [15]],
    ['37', [15]],
    ['300', [14, 16, 19]],
    ['305', [14, 16, 19]],
    ['3095', [14, 16, 19]],
    ['36', [14, 15, 16, 17, 18, 19]],
    ['38', [14, 16, 19]],
    ['6011', [16, 17, 18, 19]],
    ['644', [16, 17, 18, 19]],
    ['65', [16, 17, 18, 19]],
    ['3528', [16, 17, 18, 19]],
    ['3589', [16, 17, 18, 19]],
    ['62', [16, 17, 18, 19]],
    ['5018', [14, 15, 16, 17, 18, 19]],
    ['6759', [14, 15, 16, 17, 18, 19]],
    ['2200', [16, 17, 18, 19]],
    ['60', [16]],
    ['82', [16]],
  ] as const
).flatMap(([prefix, lengths]) => lengths.map((length) => aCardNumber(prefix, length)));

/** The well-known test number of Visa. */
export const CARD = '4111111111111111';

/** What is recorded of it. */
export const MASKED = '411111XXXXXX1111';
