import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { maskPayload } from '../../src/card-numbers/in-payload';
import { maskText, textHolds } from '../../src/card-numbers/in-text';
import { holdsCardNumber, maskValue } from '../../src/card-numbers/in-value';
import { Dice } from '../chaos/dice';
import { aCardNumber, CARD, CARD_NUMBERS } from '../support/requests/card-numbers';

const seeded = { seed: 20_260_401, numRuns: 2_000 };

/** A number of an issuer, with a check digit that is right, and as it may be written. */
const aWrittenNumber = fc
  .tuple(fc.constantFrom(...CARD_NUMBERS), fc.constantFrom('', ' ', '-', '\u00a0', ' - ', '  '))
  .map(([number, separator]) => number.replace(/(.{4})(?=.)/g, `$1${separator}`));

function digits(dice: Dice, length: number): string {
  let text = '';
  while (text.length < length) text += dice.between(0, 9);
  return text;
}

describe('what looks like a card number', () => {
  test.each(CARD_NUMBERS)('%s, of each issuer in each of its lengths, is one', (number) => {
    expect(textHolds(number)).toBe(true);
    // A number of more digits has lost its last ones.
    if (Number.isSafeInteger(Number(number))) expect(holdsCardNumber(Number(number))).toBe(true);
  });

  test.each([
    '4111 1111 1111 1111',
    '4111-1111-1111-1111',
    '4111\u00a01111\u00a01111\u00a01111',
    '4111\u20111111\u20111111\u20111111',
    '3782 822463 10005',
    '36 227206 271667',
    'card: 4111111111111111, thanks',
    '(4111111111111111)',
    'order_4111111111111111',
    '**4111111111111111**',
    '卡号4111111111111111，谢谢',
    '{"card":"4111111111111111"}',
    '4111 1111 1111 1111 12/28 123',
    '12 4111111111111111 12',
    'one 1234567890123456789012345 and 4111111111111111',
  ])('%s holds one', (text) => expect(textHolds(text)).toBe(true));

  test.each([
    ['a check digit that is wrong', '4111111111111112'],
    ['an old Visa of 13 digits', '4222222222222'],
    ['no issuer', '9111111111111111'],
    ['a length that its issuer does not have', '411111111111116'],
    ['20 digits', '41111111111111110000'],
    ['a letter behind it', '4111111111111111a'],
    ['a letter before it', 'x4111111111111111'],
    ['the fraction of a number', '52.4111111111111111'],
    ['other characters within it', '4111.1111.1111.1111'],
    ['line breaks within it', '4111\n1111\n1111\n1111'],
    ['a UUID that begins with its digits', '41111111-1111-1111-abcd-abcdefabcdef'],
    ['a UUID that ends with them', 'abcdefab-abcd-abcd-4111-111111111111'],
    ['a UUID of decimal digits', '00000000-0000-4111-1111-111111111111'],
    ['a trace parent', '00-0af7651916cd43dd8448eb211c80319c-4111111111111111-01'],
    ['a time', '2026-04-01 12-30-45.123'],
    ['milliseconds since 1970', '1775046645123'],
    ['microseconds since 1970', '1775046645123456'],
    ['fewer than 14 digits', '4111 1111 1111 1'],
    ['nothing', ''],
  ])('what has %s is none', (_, text) => expect(textHolds(text)).toBe(false));

  test.each([4111111111111112, 0.4111111111111111, -4111111111111111, 4.111111111111111e25, NaN, Infinity, 0])(
    '%d is none',
    (number) => expect(holdsCardNumber(number)).toBe(false),
  );

  test('at most 4 % of random numbers of 16 digits look like one, and at most 4 % of any other length', () => {
    const dice = new Dice('order ids');
    for (const length of [13, 14, 15, 16, 17, 18, 19, 20, 32]) {
      const hits = Array.from({ length: 50_000 }, () => textHolds(digits(dice, length))).filter(Boolean).length;
      expect({ length, atMost4Percent: hits / 50_000 <= 0.04 }).toEqual({ length, atMost4Percent: true });
      if (length === 16) expect(hits / 50_000).toBeGreaterThan(0.02);
      if (length < 14 || length > 19) expect(hits).toBe(0);
    }
  });

  test('no UUID is one, also where most of its groups are of decimal digits', () => {
    const dice = new Dice('UUIDs');
    const uuids = Array.from({ length: 50_000 }, () =>
      [8, 4, 4, 4, 12].map((length) => (dice.chance(0.8) ? digits(dice, length) : 'a'.repeat(length))).join('-'),
    );
    expect(uuids.filter(textHolds)).toEqual([]);
  });

  test('a number of an issuer is found however it is written, between whatever stands beside it', () => {
    const beside = fc.stringMatching(/^(?:[^0-9A-Za-z]|[^0-9A-Za-z][^\d]*[^0-9A-Za-z.])?$/);
    fc.assert(
      fc.property(aWrittenNumber, beside, (number, text) => {
        // Blanks and dashes between belong to a run.
        fc.pre(!/[0-9]/.test(text));
        expect(textHolds(`${text}${number}${text}`)).toBe(true);
      }),
      seeded,
    );
  });
});

describe('masking', () => {
  test('shows the first six digits and the last four', () => {
    expect(maskText('4111111111111111')).toBe('411111XXXXXX1111');
    expect(maskText('4111 1111 1111 1111 12/28')).toBe('411111XXXXXXXXX1111 12/28');
    expect(maskText('3782-822463-10005')).toBe('378282XXXXXXX0005');
  });

  const pieces = fc.oneof(
    { weight: 3, arbitrary: aWrittenNumber },
    { weight: 3, arbitrary: fc.stringMatching(/^[0-9]{1,20}$/) },
    { weight: 3, arbitrary: fc.constantFrom(' ', '-', '', '.', '*', 'X', '/', '\u00a0', ', ') },
    { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 5 }) },
  );
  const texts = fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(''));

  test('leaves no card number in any text, no other length, and what is beside as it was', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const masked = maskText(text);
        const isMasked = !textHolds(masked) && maskText(masked) === masked && masked.length === text.length;
        return isMasked && (masked === text) === !textHolds(text);
      }),
      { ...seeded, numRuns: 20_000 },
    );
  });

  test('leaves no card number in any JSON value, keys and numbers included, and loses no entry', () => {
    const key = fc.oneof(texts, fc.constantFrom(...CARD_NUMBERS), fc.constantFrom('4111110000001111', 'note'));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        texts,
        fc.constantFrom(...CARD_NUMBERS.map(Number).filter(Number.isSafeInteger)),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.constantFrom(null, true),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    const leaves = (held: unknown): number =>
      typeof held === 'object' && held !== null
        ? Object.values(held).reduce<number>((sum, each) => sum + leaves(each), 0)
        : 1;
    fc.assert(
      fc.property(value, (held) => {
        const before = JSON.stringify(held);
        const masked = maskValue(held, 'it');
        expect(holdsCardNumber(masked.value)).toBe(false);
        expect(masked.paths.length > 0).toBe(holdsCardNumber(held));
        expect(masked.paths.some(textHolds)).toBe(false);
        expect(leaves(masked.value)).toBe(leaves(held));
        expect(JSON.stringify(held)).toBe(before);
      }),
      seeded,
    );
  });

  test('names where it was, with keys that are card numbers masked', () => {
    const value = { items: [{}, { note: 'x 4111111111111111' }], '4111111111111111': { 'a b': 4111111111111111 } };
    expect(maskValue(value, 'metadata')).toEqual({
      value: { items: [{}, { note: 'x 411111XXXXXX1111' }], '411111XXXXXX1111': { 'a b': '411111XXXXXX1111' } },
      paths: ['metadata.items[1].note', 'metadata["411111XXXXXX1111"]', 'metadata["411111XXXXXX1111"]["a b"]'],
    });
  });

  test('tells keys apart that are the same when masked, whatever their order', () => {
    const [one, other] = [aCardNumber('411111', 16, '1111'), aCardNumber('411111', 16, '1111', 1)];
    expect(one).not.toBe(other);
    const expected = { '411111XXXXXX1111': 1, '411111XXXXXX1111 (2)': 2 };
    const [first, second] = [one, other].toSorted();
    expect(maskValue({ [first!]: 1, [second!]: 2 }, 'it').value).toEqual(expected);
    expect(maskValue({ [second!]: 2, [first!]: 1 }, 'it').value).toEqual(expected);
  });
});

describe('a payload', () => {
  const masked = (payload: string | Uint8Array) => Buffer.from(maskPayload(Buffer.from(payload))).toString();

  test('of JSON is masked text by text and number by number, and is otherwise as it was written', () => {
    const json =
      '{ "a" : "\\n4111111111111111" , "4111111111111111":4111111111111111, "big":12345678901234567890, "e": 1.0 }';
    expect(masked(json)).toBe(
      '{ "a" : "\\n411111XXXXXX1111" , "411111XXXXXX1111":"411111XXXXXX1111", "big":12345678901234567890, "e": 1.0 }',
    );
  });

  test('without a card number is the same object', () => {
    for (const payload of [Buffer.from('{"a":1}'), Buffer.alloc(0), Buffer.from('{"a":"4111111111111112"}')]) {
      expect(maskPayload(payload)).toBe(payload);
    }
  });

  test('of protobuf is masked field by field, in messages within it too, and keeps every length and number', () => {
    const message = (note: string, deeper: Uint8Array) =>
      new BinaryWriter()
        .tag(1, WireType.LengthDelimited)
        .string(note)
        .tag(2, WireType.Varint)
        .int64(4111111111111111n)
        .tag(3, WireType.LengthDelimited)
        .bytes(deeper)
        .finish();
    const none = Uint8Array.of();
    // 48 bytes: their length is the character 0, which stands before the number.
    const long = `${CARD} ${'x'.repeat(31)}`;
    expect(long).toHaveLength(48);
    for (const note of [CARD, long, 'é 4111\u00a01111\u00a01111\u00a01111']) {
      const given = message('a', message(note, none));
      const width = (part: string) => Buffer.byteLength(part);
      expect(Buffer.from(maskPayload(given))).toEqual(Buffer.from(message('a', message(maskText(note, width), none))));
      expect(textHolds(maskText(note, width))).toBe(false);
    }
    const untouched = message('order 4111111111111112', message('', none));
    expect(maskPayload(untouched)).toBe(untouched);
  });

  test('of any bytes can be looked at', () => {
    const bytes = fc.array(fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.constant(Buffer.from(CARD))), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(bytes, (parts) => {
        const payload = Buffer.concat(parts);
        const once = maskPayload(payload);
        expect(once.length).toBeGreaterThanOrEqual(payload.length);
        expect(maskPayload(once)).toBe(once);
      }),
      seeded,
    );
    const deep = Buffer.from(`${'['.repeat(100_000)}"${CARD}"${']'.repeat(100_000)}`);
    expect(Buffer.from(maskPayload(deep)).includes(CARD)).toBe(false);
  });

  test('of text that is no JSON is masked as text', () => {
    expect(masked('card 4111 1111 1111 1111')).toBe('card 411111XXXXXXXXX1111');
    for (const number of CARD_NUMBERS) expect(masked(`${number},x`)).toBe(`${maskText(number)},x`);
  });

  test('that is not changed by masking stays the one that the caller gave', () => {
    const payload = Buffer.from('{"note":"4111111111111111"}');
    maskPayload(payload);
    expect(payload.toString()).toBe('{"note":"4111111111111111"}');
  });
});
