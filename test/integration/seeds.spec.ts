import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { DEVELOPMENT_RESTAURANT_ID, DevelopmentOnlyError, DevelopmentSeeder } from '../../src/seeds';
import { useTestDatabase } from '../support/database/use-test-database';

describe('DevelopmentSeeder', () => {
  const database = useTestDatabase();
  const seeder = new DevelopmentSeeder();
  const configs = () =>
    database.query(`
      SELECT restaurant_id, config_version, processor_name, processor_config, is_active
      FROM restaurant_payment_configs ORDER BY config_version`);

  const testRestaurant = {
    restaurant_id: DEVELOPMENT_RESTAURANT_ID,
    config_version: 'v1',
    processor_name: 'stripe',
    processor_config: { statement_descriptor: 'TEST RESTAURANT' },
    is_active: true,
  };

  beforeEach(() => database.query('DELETE FROM restaurant_payment_configs'));

  const { NODE_ENV } = process.env;
  afterEach(() => {
    process.env.NODE_ENV = NODE_ENV;
  });

  test('puts the Stripe test restaurant there once, however often it runs', async () => {
    const dataSource = await database.dataSource();
    expect(await seeder.run(dataSource)).toEqual({ inserted: 1 });
    expect(await configs()).toEqual([testRestaurant]);
    expect(await seeder.run(dataSource)).toEqual({ inserted: 0 });
    expect(await configs()).toEqual([testRestaurant]);
  });

  test('many at once put one there', async () => {
    const dataSource = await database.dataSource();
    const results = await Promise.all(Array.from({ length: 8 }, () => seeder.run(dataSource)));
    expect(results.reduce((sum, { inserted }) => sum + inserted, 0)).toBe(1);
    expect(await configs()).toEqual([testRestaurant]);
  });

  test("leaves the owner's own active version alone", async () => {
    await database.query(
      `INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
       VALUES ($1, 'mine', 'chase', '{}')`,
      [DEVELOPMENT_RESTAURANT_ID],
    );
    expect(await seeder.run(await database.dataSource())).toEqual({ inserted: 0 });
    expect(await configs()).toMatchObject([{ config_version: 'mine', is_active: true }]);
  });

  test('refuses production, unless told to go on', async () => {
    const dataSource = await database.dataSource();
    process.env.NODE_ENV = 'production';
    await expect(seeder.run(dataSource)).rejects.toThrow(DevelopmentOnlyError);
    expect(await configs()).toEqual([]);
    expect(await seeder.run(dataSource, { force: true })).toEqual({ inserted: 1 });
  });

  test('refuses a server on another machine before it is asked anything', async () => {
    const elsewhere = new PaymentEventsDataSource(
      createDataSourceOptions({ url: 'postgresql://jo:s3cret@db.example.com/payments' }),
    );
    await expect(seeder.run(elsewhere)).rejects.toThrow(/^Refused, since db\.example\.com is not this machine/);
  });
});
