import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { AppModule } from '../../fixtures/readme/app.module';
import { DocPage } from '../../support/docs/doc-page';
import { promisesOverHttp, SERVICE_ENVIRONMENT } from '../../support/nest/service-promises';
import { useTestDatabase } from '../../support/database/use-test-database';

const PAGE = new DocPage('docs/how-to/use-in-nestjs.md');

const database = useTestDatabase();
const environment = { ...process.env };
beforeAll(() => {
  Object.assign(process.env, SERVICE_ENVIRONMENT, { DATABASE_URL: database.url });
});
afterAll(() => {
  process.env = environment;
});

const connections = () =>
  database.query('SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()', [
    SERVICE_ENVIRONMENT.PAYMENT_EVENTS_DB_APPLICATION_NAME,
  ]);

test('the how-to shows the very services that are run here', () => {
  const fixtures = ['app', 'worker'].map((name) =>
    readFileSync(join(__dirname, `../../fixtures/readme/${name}.module.ts`), 'utf8')
      .replace("'../../../src'", "'payment-events-db'")
      .replace("'../../../src/nest'", "'payment-events-db/nest'")
      .replace("'../../../src/publishers/amqp/amqp-publisher'", "'payment-events-db/amqp'"),
  );
  expect(PAGE.blocks.filter(({ language }) => language === 'ts').map(({ code }) => code)).toEqual(fixtures);
});

describe.each([
  ['Express', () => NestFactory.create(AppModule, { logger: false, abortOnError: false })],
  ['Fastify', () => NestFactory.create(AppModule, new FastifyAdapter(), { logger: false, abortOnError: false })],
])('the API of the how-to, on NestJS 12 with %s', (_adapter, create: () => Promise<INestApplication>) => {
  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    app = await create();
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterAll(() => app.close());

  promisesOverHttp(database, () => url);

  test('leaves no connection behind when it shuts down', async () => {
    expect(await connections()).not.toEqual([]);
    await app.close();
    // The server notices a closed connection a moment later.
    for (const deadline = Date.now() + 2_000; Date.now() < deadline && (await connections()).length > 0;);
    expect(await connections()).toEqual([]);
  });
});
