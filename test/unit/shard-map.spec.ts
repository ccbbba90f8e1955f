import { randomUUID } from 'node:crypto';
import { ConfigurationError } from '../../src/errors';
import { LARGEST_MODULUS, owns } from '../../src/fence/residue';
import { entryOf, readShardMap } from '../../src/shards/shard-map';

const SECRET = 'hush-hush';
const a = { name: 'a', modulus: 2, remainder: 0, number: 0, url: `postgresql://u:${SECRET}@db-a/payments` };
const b = { name: 'b', modulus: 2, remainder: 1, number: 1, url: `postgresql://u:${SECRET}@db-b/payments` };
const map = (...shards: object[]) => ({ version: 1, shards });

function problemsOf(input: unknown): string {
  try {
    readShardMap(input);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(JSON.stringify(error)).not.toContain(SECRET);
    return (error as ConfigurationError).message;
  }
  throw new Error('It was taken.');
}

test('a map of classes that cover every restaurant once is read, and frozen', () => {
  const { version, shards } = readShardMap(
    map({ ...a, modulus: 4 }, b, {
      ...a,
      name: 'c',
      modulus: 4,
      remainder: 2,
      number: 2,
      url: 'postgresql://db-c/payments',
    }),
  );
  expect(version).toBe(1);
  expect(shards.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  expect(Object.isFrozen(shards) && shards.every((one) => Object.isFrozen(one))).toBe(true);
});

test('one database that has all restaurants is a map', () => {
  const one = readShardMap(map({ ...a, modulus: 1 }));
  expect(entryOf(one, '00000000-0000-0000-0000-000000000000').name).toBe('a');
});

test('a restaurant is looked for by one hash, however many databases there are', () => {
  const many = readShardMap(
    map(
      ...Array.from({ length: LARGEST_MODULUS }, (_, remainder) => ({
        ...{ ...a, name: `s${remainder}`, modulus: LARGEST_MODULUS, remainder, number: remainder },
        url: `postgresql://db-${remainder}/payments`,
      })),
    ),
  );
  const restaurants = Array.from({ length: 10 }, () => randomUUID());
  // Each hash reads the bytes of an id.
  const hashes = jest.spyOn(Buffer, 'from');
  const entries = restaurants.map((id) => entryOf(many, id));
  expect(hashes).toHaveBeenCalledTimes(restaurants.length);
  hashes.mockRestore();
  expect(entries.every((entry, index) => owns(entry, restaurants[index]!))).toBe(true);
});

test('what has been read is taken as it is: a source and who loads from it both read', () => {
  const read = readShardMap(map(a, b));
  expect(readShardMap(read)).toBe(read);
  // A frozen map that nobody has read is none yet.
  expect(() => readShardMap(Object.freeze(map(a)))).toThrow(ConfigurationError);
});

test.each([
  ['a class that nobody has', map(a, { ...b, modulus: 4 }), 'no database has class 3 of 4'],
  ['a class that two have', map({ ...a, modulus: 1 }, b), 'a and b have the same restaurants'],
  ['a modulus that is no power of two', map({ ...a, modulus: 3 }), 'modulus must be a power of two'],
  ['a modulus that is too large', map({ ...a, modulus: LARGEST_MODULUS * 2 }), 'modulus'],
  ['a remainder beyond the modulus', map({ ...a, remainder: 2 }, b), 'remainder must be smaller than the modulus'],
  ['a name twice', map(a, { ...b, name: 'a' }), 'a and a have the same name'],
  ['a number twice', map(a, { ...b, number: 0 }), 'a and b have the same number'],
  [
    'a database twice',
    map(a, { ...b, url: 'postgresql://other@db-a:5432/payments' }),
    'a and b have the same database',
  ],
  ['a URL that is none', map(a, { ...b, url: SECRET }), 'shards.1.url'],
  ['a name that is a secret', map(a, { ...b, name: `${SECRET}!` }), 'shards.1.name must be small letters'],
  ['a property that there is not', { ...map(a, b), verison: 2 }, 'Shard map: it'],
  ['no version', { shards: [a, b] }, 'version'],
  ['no databases', map(), 'shards'],
  ['text', 'postgresql://', 'Shard map: it'],
])('%s is refused by an error that says so, and shows no URL', (_what, input, message) => {
  expect(problemsOf(input)).toContain(message);
});
