import { findDrift } from '../../src/check/drift';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { inspectViews } from '../../src/reporting/inspect-views';
import { reportingStatus } from '../../src/reporting/reporting-status';
import { makeViews } from '../../src/reporting/views-at-shard';
import { readCatalog } from '../../src/schema/catalog';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useReporting } from '../support/reporting/reporting-world';
import { EVEN, ODD, WHOLE } from '../support/shards/shards';

const world = useReporting();
const { a } = world;
beforeAll(() => world.renew());

let dataSource: PaymentEventsDataSource;
beforeAll(async () => (dataSource = await quietDataSource({ url: a.url })));
afterAll(() => dataSource.destroy());
const drift = () => findDrift(dataSource, { rolePrefix: world.prefix });

/**
 * Looks again and again, as often as it can, while something is done. That may wait until each has looked once more: what changes
 * faster than anybody can look is read by nobody.
 */
async function beside(
  work: (looked: () => Promise<unknown>) => Promise<void>,
  ...looks: (() => Promise<void>)[]
): Promise<void> {
  let isDone = false;
  let count = 0;
  const waiting = looks.map((): (() => void)[] => []);
  const looking = looks.map(async (look, index) => {
    while (!isDone) {
      await look();
      count += 1;
      for (const go of waiting[index]!.splice(0)) go();
    }
  });
  const looked = () => Promise.all(waiting.map((own) => new Promise<void>((go) => own.push(go))));
  await Promise.all([work(looked).finally(() => (isDone = true)), ...looking]);
  expect(count).toBeGreaterThan(10);
}

test('while the views of a database are made again 100 times, check and status find them as they are', async () => {
  const [catalog, views] = [await readCatalog(dataSource), await inspectViews(dataSource, world.prefix)];
  expect(catalog).toContain('  read by payment_events_reporting_0_of_2.holds\n');
  expect(views).toMatchObject([{ drift: [] }]);
  const own = await quietDataSource({ url: a.url });
  const queryRunner = own.createQueryRunner();
  try {
    await beside(
      async (looked) => {
        for (let time = 0; time < 100; time++) {
          await makeViews(queryRunner, EVEN, world.prefix);
          await looked();
        }
      },
      async () => expect(await inspectViews(dataSource, world.prefix)).toEqual(views),
      async () => expect(await inspectViews(dataSource, world.prefix)).toEqual(views),
      async () => expect(await readCatalog(dataSource)).toBe(catalog),
      async () => expect(await drift()).toEqual([]),
    );
  } finally {
    await queryRunner.release();
    await own.destroy();
  }
});

test('while reports are renewed 20 times, status finds them current every time', async () => {
  const status = () => reportingStatus(world.source, world.place);
  const current = await status();
  expect(current).toMatchObject({ current: true });
  await beside(
    async () => {
      for (let time = 0; time < 20; time++) await world.renew();
    },
    async () => expect(await status()).toEqual(current),
    async () => expect(await status()).toEqual(current),
  );
});

test('while the class of a database changes 20 times, check finds nothing but that two are there at once', async () => {
  let version = world.source.map.version;
  await beside(
    async () => {
      for (let time = 0; time < 20; time++) {
        world.mapTo(++version, time % 2 ? { a: EVEN, b: ODD } : { a: WHOLE });
        await world.renew();
      }
    },
    ...Array.from({ length: 3 }, () => async () => {
      for (const one of await drift()) expect(one).toMatchObject({ actual: 'views of a second class' });
    }),
  );
  expect(await drift()).toEqual([]);
});
