import { ConfigCache } from '../../src/configs/config-cache';

/** Two clocks that the test moves. */
let [monotonic, wall] = [0, 0];
beforeEach(() => {
  [monotonic, wall] = [5_000, 1_900_000_000_000];
  jest.spyOn(performance, 'now').mockImplementation(() => monotonic);
  jest.spyOn(Date, 'now').mockImplementation(() => wall);
});
afterEach(() => jest.restoreAllMocks());

const pass = (ms: number) => {
  monotonic += ms;
  wall += ms;
};

/** Reads that are counted. */
function reading(cache: ConfigCache<number>) {
  let reads = 0;
  return { get: () => cache.get('r', () => Promise.resolve(++reads)) };
}

test('gives what was read until its time is over, and not longer', async () => {
  const { get } = reading(new ConfigCache(1_000));
  expect(await get()).toBe(1);
  pass(999);
  expect(await get()).toBe(1);
  pass(1);
  expect(await get()).toBe(2);
});

test('counts from the beginning of a read, since what was read may be older than its end', async () => {
  const cache = new ConfigCache<number>(1_000);
  await cache.get('r', () => (pass(999), Promise.resolve(1)));
  pass(1);
  expect(await cache.get('r', () => Promise.resolve(2))).toBe(2);
});

test.each([
  ['jumps ahead', 3_600_000],
  ['jumps back', -3_600_000],
])('reads again where the clock %s', async (_what, jump) => {
  const { get } = reading(new ConfigCache(1_000));
  await get();
  wall += jump;
  expect(await get()).toBe(2);
});

test('reads again where the monotonic clock stood still while the machine slept', async () => {
  const { get } = reading(new ConfigCache(1_000));
  await get();
  wall += 1_000;
  expect(await get()).toBe(2);
});

test('keeps nothing without a time', async () => {
  const { get } = reading(new ConfigCache(0));
  expect([await get(), await get()]).toEqual([1, 2]);
});

test('keeps no read that failed, and who waits for one shares it', async () => {
  const cache = new ConfigCache<number>(1_000);
  let reads = 0;
  const failing = () => (reads++, Promise.reject(new Error('away')));
  const outcomes = await Promise.allSettled([cache.get('r', failing), cache.get('r', failing)]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(reads).toBe(1);
  expect(await cache.get('r', () => Promise.resolve(7))).toBe(7);
});

test('forgets what was changed, also what is still being read', async () => {
  const cache = new ConfigCache<number>(1_000);
  let end = (_value: number) => {};
  const slow = cache.get('r', () => new Promise((resolve) => (end = resolve)));
  cache.forget('r');
  const fresh = cache.get('r', () => Promise.resolve(2));
  end(1);
  expect([await slow, await fresh, await cache.get('r', () => Promise.resolve(3))]).toEqual([1, 2, 2]);
});

test('does not grow without a bound', async () => {
  const cache = new ConfigCache<number>(1_000);
  for (let key = 0; key < 10_001; key++) await cache.get(String(key), () => Promise.resolve(key));
  expect(await cache.get('10000', () => Promise.resolve(-1))).toBe(10_000);
  expect(await cache.get('0', () => Promise.resolve(-1))).toBe(-1);
});

test('gives nobody what became too old while it was read', async () => {
  const cache = new ConfigCache<number>(1_000);
  let end = (_value: number) => {};
  const slow = cache.get('r', () => new Promise((resolve) => (end = resolve)));
  pass(500);
  const second = cache.get('r', () => Promise.resolve(2));
  pass(600);
  end(1);
  expect([await slow, await second]).toEqual([1, 2]);
});
