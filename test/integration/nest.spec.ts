import { type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DataSource, MigrationExecutor } from 'typeorm';
import { DEVELOPMENT_RESTAURANT_ID, DevelopmentSeeder, migrations, PaymentEventsDataSource } from '../../src';
import { AppModule } from '../fixtures/readme/app.module';
import { useTestDatabase } from '../support/use-test-database';

const APPLICATION_NAME = 'restaurants service';

describe("the README's NestJS service", () => {
  const database = useTestDatabase();
  const environment = { ...process.env };
  let app: INestApplication | undefined;

  beforeAll(async () => {
    await new DevelopmentSeeder().run(await database.dataSource(), { force: true });
    process.env.DATABASE_URL = database.url;
    process.env.PAYMENT_EVENTS_DB_APPLICATION_NAME = APPLICATION_NAME;
    app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
    await app.listen(0, '127.0.0.1');
  });
  afterAll(async () => {
    process.env = environment;
    await app?.close();
  });

  const connections = () =>
    database.query('SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()', [
      APPLICATION_NAME,
    ]);

  test('injects our DataSource, which knows the migrations of the database', async () => {
    const dataSource = app!.get(DataSource);
    expect(dataSource).toBeInstanceOf(PaymentEventsDataSource);
    const executor = new MigrationExecutor(dataSource);
    expect(await executor.getExecutedMigrations()).toHaveLength(migrations.length);
    expect(await executor.getPendingMigrations()).toEqual([]);
  });

  test('reads the seeded restaurant over HTTP', async () => {
    const response = await fetch(`${await app!.getUrl()}/restaurants/${DEVELOPMENT_RESTAURANT_ID}/processor`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ processorName: 'stripe', configVersion: 'v1' });
    expect(await connections()).not.toEqual([]);
  });

  test('leaves no connection behind when it shuts down', async () => {
    await app!.close();
    app = undefined;
    // The server notices a closed connection a moment later.
    for (const deadline = Date.now() + 2_000; Date.now() < deadline && (await connections()).length > 0;);
    expect(await connections()).toEqual([]);
  });
});
