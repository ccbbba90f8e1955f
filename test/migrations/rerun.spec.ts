import { type QueryRunner } from 'typeorm';
import { migrations } from '../../src/migrations';
import { readCatalog } from '../../src/schema/catalog';
import { compareCatalogs } from '../../src/schema/compare-catalogs';
import { isCutOff } from '../support/migrations/cut-off';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, MigrationChain, readRows } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

// Some hundred runs of whole migrations.
jest.setTimeout(600_000);

const database = useTestDatabase({ empty: true });
const chain = () => new MigrationChain(database);

// A migration without a transaction around it keeps what it did when it is cut off, and has no history row.
const RERUNNABLE = migrations
  .map((Migration, index) => ({
    name: Migration.name,
    level: index + 1,
    migration: new Migration(),
  }))
  .filter(({ migration }) => 'transaction' in migration);

/** What a migration fills in and its way down leaves there, taken out again, so that the next run has it all to do. */
const FORGET: Record<string, string> = {
  ContractRestaurants: `
    UPDATE payment_events SET restaurant_id = NULL;
    UPDATE outbox SET restaurant_id = NULL;
    UPDATE auth_processing_locks SET restaurant_id = NULL`,
  ContractKeysAndIndexes: 'UPDATE restaurant_payment_configs SET created_at = NULL',
  GuardAuthRequestState: `
    ALTER TABLE auth_request_state DISABLE TRIGGER USER;
    UPDATE auth_request_state SET attempt_open = false, attempt = NULL, attempt_version = NULL, attempt_token = NULL,
      attempt_unanswered = false, unanswered_versions = '{}', unanswered_since = NULL, retry_count = 0;
    ALTER TABLE auth_request_state ENABLE TRIGGER USER`,
};

beforeAll(async () => {
  await loadLegacyDatabase(database);
  // Below LegacyMockProcessor there is no place for it.
  await database.query(`DELETE FROM restaurant_payment_configs WHERE processor_name = 'mock'`);
});

let cutOffs = 0;
const seed = Number(process.env.SEED ?? Date.now() % 1e9);
const random = numbersFrom(seed);

beforeAll(() => process.stdout.write(`rerun.spec.ts: SEED=${seed}\n`));

describe.each(RERUNNABLE)('$name', ({ name, level }) => {
  let below: string;
  let above: { catalog: string; rows: unknown };
  const forget = FORGET[name.replace(/\d+$/, '')] ?? '';

  beforeAll(async () => {
    await chain().upTo(level);
    above = { catalog: await chain().catalog(), rows: await chain().rows() };
    await chain().downTo(level - 1);
    below = await chain().catalog();
  });
  afterAll(() => chain().upTo(level));

  test('run twice, up or down, makes what it makes when run once', async () => {
    await chain().byHand(level, async (migration, session) => {
      await migration.up(session);
      await migration.up(session);
      expect(await now(session)).toEqual(above);
      await migration.down(session);
      await migration.down(session);
      expect(await readCatalog(session)).toBe(below);
    });
  });

  test('cut off after any of its statements, up or down, goes on where it stopped', async () => {
    await chain().byHand(level, async (migration, session) => {
      const cut = { up: 0, down: 0 };
      for (let n = 1; n - 1 === Math.max(cut.up, cut.down); n++) {
        await database.query(forget);
        if (await isCutOff(session, n, () => migration.up(session))) cut.up = n;
        await migration.up(session);
        expect({ n, ...(await now(session)) }).toEqual({ n, ...above });
        if (await isCutOff(session, n, () => migration.down(session))) cut.down = n;
        await migration.down(session);
        expect({ n, catalog: await readCatalog(session) }).toEqual({ n, catalog: below });
      }
      cutOffs += cut.up + cut.down;
    });
  });

  test('cut off after any of its statements, up or down, goes the other way as well', async () => {
    await chain().byHand(level, async (migration, session) => {
      const cut = { up: 0, down: 0 };
      for (let n = 1; n - 1 === Math.max(cut.up, cut.down); n++) {
        await database.query(forget);
        if (await isCutOff(session, n, () => migration.up(session))) cut.up = n;
        await migration.down(session);
        expect({ n, catalog: await readCatalog(session) }).toEqual({ n, catalog: below });
        await migration.up(session);
        if (await isCutOff(session, n, () => migration.down(session))) cut.down = n;
        await migration.up(session);
        expect({ n, ...(await now(session)) }).toEqual({ n, ...above });
        await migration.down(session);
      }
      cutOffs += cut.up + cut.down;
    });
  });

  test('cut off up to four times, this way and that, comes to the end of whatever is run last', async () => {
    await chain().byHand(level, async (migration, session) => {
      for (let walk = 0; walk < 15; walk++) {
        await migration.down(session);
        await database.query(forget);
        const steps: string[] = [];
        for (let cuts = random(4); cuts >= 0; cuts--) {
          const [direction, n] = [random(2) ? 'up' : 'down', 1 + random(12)] as const;
          steps.push(`${direction} ${n}`);
          await isCutOff(session, n, () => migration[direction](session));
        }
        const last = random(2) ? 'up' : 'down';
        await migration[last](session);
        // A way down that begins where another has ended brings columns back first, in an order of its own.
        const drift = compareCatalogs(last === 'up' ? above.catalog : below, await readCatalog(session));
        expect({ seed, steps, last, drift }).toEqual({ seed, steps, last, drift: [] });
      }
      await migration.up(session);
      expect(await readRows(session)).toEqual(above.rows);
      await migration.down(session);
    });
  });
});

test('all but the first migration were tried, and cut off in many places', () => {
  expect(RERUNNABLE).toHaveLength(LATEST_LEVEL - 1);
  expect(cutOffs).toBeGreaterThan(200);
});

const now = async (session: QueryRunner) => ({ catalog: await readCatalog(session), rows: await readRows(session) });

/** Mulberry32: whole numbers from 0 to below what it is given, the same ones for the same seed. */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
