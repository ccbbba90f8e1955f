import { InvalidCommandError } from '../../src/errors';
import { readIdempotencyKey } from '../../src/nest/idempotency-key.decorator';

test.each([
  ['"8e03978e-40d5-43e8-bc93-6894a57f9324"', '8e03978e-40d5-43e8-bc93-6894a57f9324'],
  ['8e03978e-40d5-43e8-bc93-6894a57f9324', '8e03978e-40d5-43e8-bc93-6894a57f9324'],
  [' "with spaces, and so on" ', 'with spaces, and so on'],
  ['"a \\"quoted\\" \\\\ word"', 'a "quoted" \\ word'],
  ['order-42/payment=1,2;3', 'order-42/payment=1,2;3'],
  ['k'.repeat(255), 'k'.repeat(255)],
  [`"${'\\"'.repeat(255)}"`, '"'.repeat(255)],
])('the header %s is the key %s', (header, key) => {
  expect(readIdempotencyKey(header)).toBe(key);
});

test.each([
  ['nothing', undefined, 'must be sent'],
  ['an empty one', ' ', 'must be sent'],
  ['an empty string', '""', 'must have 1 to 255 characters'],
  ['256 characters', 'k'.repeat(256), 'must have 1 to 255 characters'],
  ['256 characters in quotes', `"${'k'.repeat(256)}"`, 'must have 1 to 255 characters'],
  ['two headers', 'first, second', 'must be a string in double quotes'],
  ['two headers in quotes', '"first", "second"', 'must be a string in double quotes'],
  ['a quote that is not closed', '"first', 'must be a string in double quotes'],
  ['a wrong escape', '"fir\\st"', 'must be a string in double quotes'],
  ['a letter beyond ASCII', 'schlüssel', 'must be a string in double quotes'],
  ['a control character', '"a\tb"', 'must be a string in double quotes'],
])('%s is refused by what it must be, and not repeated', (_what, header, problem) => {
  const read = () => readIdempotencyKey(header);
  expect(read).toThrow(InvalidCommandError);
  expect(read).toThrow(`Idempotency-Key: ${problem}`);
  if (header && header.length > 2) expect(read).not.toThrow(header);
});
