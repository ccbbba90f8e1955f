import { Checkout } from '../support/processes/checkout';
import { Nest11Project } from '../support/nest/nest-11-project';
import { promisesOverHttp, SERVICE_ENVIRONMENT } from '../support/nest/service-promises';
import { useTestDatabase } from '../support/database/use-test-database';

// Here and not among the other tests of NestJS: it takes its packages from the registry, and a minute.

jest.setTimeout(600_000);

const database = useTestDatabase();
let checkout: Checkout;
let project: Nest11Project;
let installed: Awaited<ReturnType<Nest11Project['install']>>;
beforeAll(async () => {
  checkout = await Checkout.create();
  project = new Nest11Project(checkout);
  installed = await project.install();
});
afterAll(async () => {
  await project.remove();
  await checkout.remove();
});

test('the package is installed beside NestJS 11 as its page says, without a word about peers', async () => {
  expect(installed).toMatchObject({ exitCode: 0 });
  expect(installed.output).not.toMatch(/ERESOLVE|\bpeer\b/i);
  const { output } = await project.run('npm ls --depth 0 --parseable --long');
  expect(output).toMatch(/@nestjs\/core@11\./);
  expect(output).toMatch(/payment-events-db@/);
});

test('the service of the page compiles under the settings that NestJS 11 has made so far', async () => {
  expect(await project.compile()).toBe('');
});

describe.each(['express', 'fastify'] as const)('the API of the how-to, on NestJS 11 with %s', (adapter) => {
  let service: Awaited<ReturnType<Nest11Project['start']>>;
  beforeAll(async () => {
    service = await project.start(adapter, { ...SERVICE_ENVIRONMENT, DATABASE_URL: database.url });
  });

  promisesOverHttp(database, () => service.url);

  test('SIGTERM ends it, and leaves no connection behind', async () => {
    // Nest sends itself the signal again when everything is closed.
    expect(await service.stop()).toBe('SIGTERM');
    expect(
      await database.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'payments service' AND datname = current_database()`,
      ),
    ).toEqual([]);
  });
});
