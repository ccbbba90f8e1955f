/**
 * Which numbers cards begin with, by their first four digits, and how many digits they have: ISO/IEC 7812 as the networks
 * publish it. A Visa of 13 digits has not been issued for decades. Of Maestro only the prefixes that no other network
 * shares: as wide as they were once assigned, they would double what is hit by chance.
 */
const ISSUERS: readonly (readonly [from: number, to: number, lengths: readonly number[]])[] = [
  // Visa
  [4000, 4999, [16, 18, 19]],
  // Mastercard
  [5100, 5599, [16]],
  [2221, 2720, [16]],
  // American Express
  [3400, 3499, [15]],
  [3700, 3799, [15]],
  // Diners Club
  [3000, 3059, [14, 16, 19]],
  [3095, 3095, [14, 16, 19]],
  [3600, 3699, [14, 15, 16, 17, 18, 19]],
  [3800, 3999, [14, 16, 19]],
  // Discover
  [6011, 6011, [16, 17, 18, 19]],
  [6440, 6599, [16, 17, 18, 19]],
  // JCB
  [3528, 3589, [16, 17, 18, 19]],
  // UnionPay
  [6200, 6299, [16, 17, 18, 19]],
  [8100, 8171, [16, 17, 18, 19]],
  // Maestro
  [5018, 5018, [14, 15, 16, 17, 18, 19]],
  [5020, 5020, [14, 15, 16, 17, 18, 19]],
  [5038, 5038, [14, 15, 16, 17, 18, 19]],
  [5893, 5893, [14, 15, 16, 17, 18, 19]],
  [6304, 6304, [14, 15, 16, 17, 18, 19]],
  [6759, 6763, [14, 15, 16, 17, 18, 19]],
  // Mir
  [2200, 2204, [16, 17, 18, 19]],
  // RuPay
  [5080, 5089, [16]],
  [6000, 6099, [16]],
  [8172, 8299, [16]],
];

/** Digits of the shortest and the longest card number. */
export const SHORTEST = 14;
export const LONGEST = 19;

/** Whether these digits, and nothing else, are what a card number looks like. */
export function isCardNumber(digits: string): boolean {
  return keepsCheckDigit(digits) && isOfAnIssuer(digits);
}

function isOfAnIssuer(digits: string): boolean {
  const first = Number(digits.slice(0, 4));
  return ISSUERS.some(([from, to, lengths]) => first >= from && first <= to && lengths.includes(digits.length));
}

/** The last digit is the check digit of the others (Luhn, ISO/IEC 7812-1 annex B). */
function keepsCheckDigit(digits: string): boolean {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = digits.charCodeAt(digits.length - 1 - index) - 48;
    const weighed = index % 2 === 1 ? 2 * digit : digit;
    sum += weighed > 9 ? weighed - 9 : weighed;
  }
  return sum % 10 === 0;
}
