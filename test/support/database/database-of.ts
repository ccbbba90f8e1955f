import { randomBytes } from 'node:crypto';
import { currentTestRun } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';

/** An empty database of a block's own, made as SQL says: of another locale or encoding. Its URL, once the block has begun. */
export function useDatabaseOf(options: string): { readonly url: string } {
  const name = `test_of_${randomBytes(4).toString('hex')}`;
  const database = { url: '' };
  beforeAll(async () => {
    const { serverUrl } = currentTestRun();
    await withClient(serverUrl, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE template0 ${options}`));
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    database.url = url.href;
  });
  afterAll(() =>
    withClient(currentTestRun().serverUrl, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)),
  );
  return database;
}
