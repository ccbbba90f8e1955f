import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigurationError } from '../../../src/errors';
import { startTestServer } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';
import { currentTestRun } from '../../../src/testing/test-run';

it('gives up on a Docker engine that never answers', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'docker-'));
  const socket = join(folder, 'docker.sock');
  const engine = createServer().listen(socket);
  await once(engine, 'listening');
  const server = await startTestServer({ ...process.env, TEST_DATABASE_URL: '', DOCKER_HOST: `unix://${socket}` });
  try {
    expect(server.description).toMatch(/^an embedded PostgreSQL \d+, since the Docker engine did not answer/);
    await withClient(server.url, (client) => client.query('CREATE DATABASE works'));
  } finally {
    await server.stop();
    engine.close();
    rmSync(folder, { recursive: true });
  }
});

it('takes the server that TEST_DATABASE_URL names, and leaves it running', async () => {
  const { serverUrl } = currentTestRun();
  const server = await startTestServer({ TEST_DATABASE_URL: serverUrl });
  expect(server).toMatchObject({ kind: 'given', url: serverUrl });
  await server.stop();
  await withClient(serverUrl, (client) => client.query('SELECT'));
});

it('does not pass one version off as another', async () => {
  const { serverUrl } = currentTestRun();
  const { kind, description } = await startTestServer({ TEST_DATABASE_URL: serverUrl });
  expect([kind, description]).toEqual(['given', expect.stringMatching(/^the PostgreSQL 1[5-8] that/)]);
  const other = description.includes('PostgreSQL 15') ? '16' : '15';
  await expect(startTestServer({ TEST_DATABASE_URL: serverUrl, PG_VERSION: other })).rejects.toThrow(
    ConfigurationError,
  );
});

it('says which versions there are when PG_VERSION names none of them', async () => {
  await expect(startTestServer({ PG_VERSION: '9.6' })).rejects.toThrow('PG_VERSION must be one of 15, 16, 17, 18.');
});
