import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DataSource, MigrationExecutor } from 'typeorm';
import {
  AuthRequests,
  DEVELOPMENT_RESTAURANT_ID,
  DevelopmentSeeder,
  migrations,
  PaymentEventsDataSource,
} from '../../src';
import { AppModule } from '../fixtures/readme/app.module';
import { DocPage } from '../support/docs/doc-page';
import { useTestDatabase } from '../support/database/use-test-database';

const APPLICATION_NAME = 'restaurants service';

const PAGE = new DocPage('docs/how-to/use-in-nestjs.md');

test('the how-to shows the very service that is run here', () => {
  const [shown] = PAGE.blocks.filter(({ language }) => language === 'ts');
  const fixture = readFileSync(join(__dirname, '../fixtures/readme/app.module.ts'), 'utf8');
  expect(shown!.code).toBe(fixture.replace("'../../../src'", "'payment-events-db'"));
  expect(PAGE.blocks.map(({ language }) => language)).toEqual(['bash', 'ts']);
});

describe('the NestJS service of the how-to', () => {
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

  test('injects operations, which use that DataSource', async () => {
    expect(await app!.get(AuthRequests).list({ restaurantId: DEVELOPMENT_RESTAURANT_ID })).toMatchObject({
      requests: [],
    });
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
