import { randomUUID } from 'node:crypto';
import { addFence, dropFence, inClass } from '../../src/fence/fence-sql';
import { halvesOf, hashOf, LARGEST_MODULUS, owns, PARTITION_SEED, remainderOf } from '../../src/fence/residue';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const EDGES = [
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '80000000-8000-0000-8000-000080000000',
  '7fffffff-7fff-ffff-7fff-ffff7fffffff',
  '00000000-0000-0000-0000-000000000001',
  'DEADBEEF-DEAD-BEEF-DEAD-BEEFDEADBEEF',
];
const IDS = [...EDGES, ...Array.from({ length: 100_000 }, () => randomUUID())];
const MODULI = Array.from({ length: 11 }, (_, power) => 2 ** power);

test('hashOf is the low word of the hash that PostgreSQL partitions by: 100,000 ids and edges, none differs', async () => {
  // hash_combine64 of nothing and the hash adds a constant; the sum is taken of the low words, so that it cannot overflow.
  const rows = await database.query<{ hash: string }>(
    `SELECT (((uuid_hash_extended(id, ${PARTITION_SEED}) & 4294967295) + x'15e5a8e3'::bigint) & 4294967295)::text AS hash
     FROM unnest($1::uuid[]) WITH ORDINALITY AS ids (id, place) ORDER BY place`,
    [IDS],
  );
  expect(rows.filter(({ hash }, index) => Number(hash) !== hashOf(IDS[index]!))).toEqual([]);
  expect(rows).toHaveLength(IDS.length);
});

test("a class is that of PostgreSQL's own hash partitioning, for every modulus up to the largest", async () => {
  await database.query('CREATE TABLE parted (restaurant_id uuid) PARTITION BY HASH (restaurant_id)');
  for (const modulus of MODULI) {
    const remainder = modulus - 1;
    const rows = await database.query<{ id: string; partition: boolean; fence: boolean }>(
      `SELECT id, satisfies_hash_partition('parted'::regclass, ${modulus}, ${remainder}, id) AS partition,
         ${inClass({ modulus, remainder }, 'id')} AS fence
       FROM unnest($1::uuid[]) AS ids (id)`,
      [IDS.slice(0, 5_000)],
    );
    expect(rows.filter(({ partition, fence }) => partition !== fence)).toEqual([]);
    expect(rows.filter(({ id, partition }) => owns({ modulus, remainder }, id) !== partition)).toEqual([]);
  }
});

test('each restaurant of a class is in exactly one of its halves', () => {
  for (const modulus of MODULI.slice(0, -1)) {
    for (const id of IDS.slice(0, 2_000)) {
      const shard = { modulus, remainder: remainderOf(id, modulus) };
      expect(halvesOf(shard).filter((half) => owns(half, id))).toHaveLength(1);
    }
  }
});

test('restaurants are spread evenly over the largest modulus', () => {
  const counts = new Array<number>(LARGEST_MODULUS).fill(0);
  for (const id of IDS) counts[remainderOf(id, LARGEST_MODULUS)]! += 1;
  // 98 on average; a uniform hash is beyond these bounds once in many millions of runs.
  expect(Math.min(...counts)).toBeGreaterThan(30);
  expect(Math.max(...counts)).toBeLessThan(200);
});

test('the database refuses a restaurant of another class, and takes those of its own', async () => {
  const shard = { modulus: 4, remainder: 2 };
  await database.query(addFence('auth_idempotency_keys', shard));
  const claim = (id: string, key: string) =>
    database.query(
      'INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id) VALUES ($2, $1, gen_random_uuid())',
      [id, key],
    );
  for (const [index, id] of IDS.slice(0, 100).entries()) {
    const taken = claim(id, `key-${index}`);
    if (owns(shard, id)) await taken;
    else await expect(taken).rejects.toMatchObject({ constraint: 'auth_idempotency_keys_shard' });
  }
  await database.query(dropFence('auth_idempotency_keys'));
});
