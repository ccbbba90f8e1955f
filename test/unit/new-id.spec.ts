import { validate, version } from 'uuid';
import { newId } from '../../src/database/new-id';

const timeOf = (id: string) => parseInt(id.replace('-', '').slice(0, 12), 16);

test('an id is a UUID of version 7 that begins with the time, in milliseconds', () => {
  for (let n = 0; n < 1_000; n++) {
    const before = Date.now();
    const id = newId();
    expect([validate(id), version(id)]).toEqual([true, 7]);
    expect(timeOf(id)).toBeGreaterThanOrEqual(before);
    expect(timeOf(id)).toBeLessThanOrEqual(Date.now());
  }
});

test('no two ids share their random bits, however many are made at once', () => {
  const random = Array.from({ length: 5_000 }, () => newId().slice(15));
  expect(new Set(random).size).toBe(random.length);
});

test('each bit after the time, the version and the variant differs between ids', () => {
  const ids = Array.from({ length: 200 }, () => BigInt(`0x${newId().replaceAll('-', '')}`));
  const changed = ids.reduce((bits, id) => bits | (id ^ ids[0]!), 0n) & ((1n << 80n) - 1n);
  expect(changed.toString(2).replaceAll('0', '')).toHaveLength(74);
});
