import { createHash } from 'node:crypto';
import { fingerprint } from '../../src/idempotency/fingerprint';

test('a fingerprint is the SHA-256 of canonical JSON, whatever the order of keys', () => {
  const expected = createHash('sha256').update('["authorize",1050,{"a":"ü","b":[2,1]}]').digest();
  expect(fingerprint('authorize', 1050, { b: [2, 1], a: 'ü' })).toEqual(expected);
  expect(fingerprint('authorize', 1050, { a: 'ü', b: [2, 1] })).toEqual(expected);
});
