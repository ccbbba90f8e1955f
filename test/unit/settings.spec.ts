import { DataSource } from 'typeorm';
import { type PaymentEventsDataSourceSettings } from '../../src/connection/data-source-settings';
import { createDataSourceOptions } from '../../src/data-source';
import { ConfigurationError } from '../../src/errors';
import { grantPrivileges } from '../../src/grants/grant-privileges';
import { adopt } from '../../src/migrator/adopt';
import { findDrift } from '../../src/check/drift';
import { migrate, revert } from '../../src/migrator/migrator';
import { planMigrations } from '../../src/migrator/plan';
import { stamp } from '../../src/migrator/stamp';
import { type Publishers } from '../../src/outbox/delivery';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { observeOutbox } from '../../src/outbox/telemetry';
import { AmqpPublisher } from '../../src/publishers/amqp/amqp-publisher';
import { SqsPublisher, type SqsPublisherOptions } from '../../src/publishers/sqs/sqs-publisher';
import { RedactingLogger } from '../../src/database/redacting-logger';
import { DevelopmentSeeder } from '../../src/seeds';
import * as testing from '../../src/testing';

/** Of a server that is not there: a call to it would get another error. */
const URL_WITH_PASSWORD = 'postgresql://jo:s3cret@127.0.0.1:1/payments';
const dataSource = new DataSource(createDataSourceOptions({ url: URL_WITH_PASSWORD }));
const publisher = { publish: () => Promise.resolve([]) };
const client = { send: () => undefined } as unknown as SqsPublisherOptions['client'];
const queues = { m: 'https://sqs.example.com/1/q' };

/** As a caller without types would: each is set up with one thing wrong. */
const SET_UPS: [string, string, (wrong: never) => unknown][] = [
  ['OutboxRelay', 'batchSize', (wrong) => new OutboxRelay(dataSource, publisher, { batchSize: wrong })],
  ['SqsPublisher', 'maxBytes', (wrong) => new SqsPublisher({ client, queues, maxBytes: wrong })],
  ['AmqpPublisher', 'url', (wrong) => new AmqpPublisher({ url: wrong, exchange: '' })],
  [
    'createDataSourceOptions',
    'poolSize',
    (wrong) => createDataSourceOptions({ url: URL_WITH_PASSWORD, poolSize: wrong }),
  ],
  ['migrate', 'fake', (wrong) => migrate(dataSource, { fake: wrong })],
  ['revert', 'to', (wrong) => revert(dataSource, { to: wrong })],
  ['planMigrations', 'direction', (wrong) => planMigrations(dataSource, { direction: wrong })],
  ['stamp', 'dryRun', (wrong) => stamp(dataSource, 'ExpandIndexes', { dryRun: wrong })],
  ['adopt', 'legacyTimeZone', (wrong) => adopt(dataSource, { legacyTimeZone: wrong })],
  ['findDrift', 'rolePrefix', (wrong) => findDrift(dataSource, { rolePrefix: wrong })],
  ['grantPrivileges', 'say', (wrong) => grantPrivileges(dataSource, { say: wrong })],
  ['DevelopmentSeeder', 'force', (wrong) => new DevelopmentSeeder().run(dataSource, { force: wrong })],
  ['observeOutbox', 'outbox', (wrong) => observeOutbox(wrong)],
  ['EmbeddedServer.start', 'port', (wrong) => testing.EmbeddedServer.start({ dataDirectory: '/x', port: wrong })],
  ['EmbeddedServer.find', 'dataDirectory', (wrong) => testing.EmbeddedServer.find({ dataDirectory: wrong })],
  ['createTestDatabase', 'prefix', (wrong) => testing.createTestDatabase(URL_WITH_PASSWORD, { prefix: wrong })],
  ['createTemplateDatabase', 'name', (wrong) => testing.createTemplateDatabase(URL_WITH_PASSWORD, wrong)],
  ['dropTestDatabases', 'prefix', (wrong) => testing.dropTestDatabases(URL_WITH_PASSWORD, wrong)],
  ['databaseUrl', 'name', (wrong) => testing.databaseUrl(URL_WITH_PASSWORD, wrong)],
];

describe.each(SET_UPS)('%s', (_name, setting, setUp) => {
  it.each([[-1], [NaN], [[]], [new Map()]])(
    `refuses %p as ${setting} by name, before anything is done`,
    async (wrong) => {
      const error = await failureOf(() => setUp(wrong as never));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as Error).message).toMatch(new RegExp(`^\\w+: ${setting} must `));
    },
  );
});

it('a typing error in the name of an option is told, and what there is', () => {
  const slip = { url: URL_WITH_PASSWORD, poolsize: 3 } as PaymentEventsDataSourceSettings;
  expect(() => createDataSourceOptions(slip)).toThrow(
    /^PaymentEventsDataSourceSettings: poolsize is none of url, .*poolSize, /,
  );
});

it('options that are undefined or null leave every default as it is', () => {
  const usual = {
    ...createDataSourceOptions({ url: URL_WITH_PASSWORD }),
    logger: expect.any(RedactingLogger) as unknown,
  };
  for (const nothing of [undefined, null]) {
    const given = { poolSize: nothing, connectTimeoutMs: nothing, statementTimeoutMs: nothing, lockTimeoutMs: nothing };
    const options = createDataSourceOptions({
      ...{ url: URL_WITH_PASSWORD, logger: nothing, applicationName: nothing, timeoutsVia: nothing },
      ...given,
    } as unknown as PaymentEventsDataSourceSettings);
    expect(options).toEqual(usual);
  }
});

it('the longest time-out for a statement still leaves one for its answer that a timer can take', () => {
  const options = createDataSourceOptions({ url: URL_WITH_PASSWORD, statementTimeoutMs: 2 ** 31 - 1 });
  expect(options.extra).toMatchObject({ answerTimeoutMs: 2 ** 31 - 1 });
});

it.each<[string, unknown]>([
  ['nothing', undefined],
  ['null', null],
  ['a function', () => publisher],
  ['none at all', {}],
  ['one that is undefined', { auth_request_queued: publisher, void_request_queued: undefined }],
  ['one that cannot publish', { auth_request_queued: { send: () => undefined } }],
])('a relay is not set up with %s in the place of its publishers', (_what, publishers) => {
  expect(() => new OutboxRelay(dataSource, publishers as Publishers)).toThrow(ConfigurationError);
});

it.each([
  ['createDataSourceOptions', (url: string) => createDataSourceOptions({ url })],
  ['databaseUrl', (url: string) => testing.databaseUrl(url, 'd')],
  ['createTestDatabase', (url: string) => testing.createTestDatabase(url)],
  ['startTestServer', (url: string) => testing.startTestServer({ TEST_DATABASE_URL: url })],
])('%s does not say a URL that it refuses', async (_name, setUp) => {
  for (const url of ['postgresql://jo:s3cret@:x/payments', 'https://jo:s3cret@example.com', 'jo:s3cret']) {
    const error = await failureOf(() => setUp(url));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('s3cret');
  }
});

async function failureOf(setUp: () => unknown): Promise<unknown> {
  try {
    await setUp();
  } catch (error) {
    return error;
  }
}
