import { Client } from 'pg';
import { createTestDatabase, dropTestDatabases, listTestDatabases } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';
import { useTestDatabase } from '../../support/database/use-test-database';
import { currentTestRun } from '../../../src/testing/test-run';

const template = useTestDatabase({ empty: true });
const { serverUrl } = currentTestRun();
const prefix = `copies_${process.pid}`;

afterEach(() => dropTestDatabases(serverUrl, prefix));

it('copies a template many times at once', async () => {
  await template.query('CREATE TABLE origin (id integer)');
  await template.closeSessions();
  const copies = await Promise.all(
    Array.from({ length: 8 }, () => createTestDatabase(serverUrl, { template: template.name, prefix })),
  );
  expect(await listTestDatabases(serverUrl, prefix)).toEqual(copies.map(({ name }) => name).sort());
  for (const { url } of copies) await withClient(url, (client) => client.query('TABLE origin'));
});

it('drops a database that is in use', async () => {
  const database = await createTestDatabase(serverUrl, { prefix });
  const session = new Client({ connectionString: database.url }).on('error', () => undefined);
  await session.connect();
  await database.drop();
  expect(await listTestDatabases(serverUrl, prefix)).toEqual([]);
});
