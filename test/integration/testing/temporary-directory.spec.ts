import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EmbeddedServer } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';
import { compiled } from '../../support/jest/compiled';

const OWNER = `
  const { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } = require('./src/testing');
  const { dataDirectory } = new TemporaryDirectory();
  EmbeddedServer.start({ dataDirectory, settings: UNSAFE_BUT_FAST }).then(() => console.log(dataDirectory));
  setInterval(() => {}, 1000);
`;

it('goes with the process that made it, server and all, even after kill -9', async () => {
  const owner = spawn(process.execPath, ['--eval', OWNER], {
    cwd: compiled('.'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = (await once(owner.stdout, 'data')) as [Buffer];
  const dataDirectory = output.toString().trim();
  const server = await EmbeddedServer.find({ dataDirectory });
  await withClient(server!.url, (client) => client.query('SELECT'));

  owner.kill('SIGKILL');
  for (let tries = 0; existsSync(dirname(dataDirectory)) && tries < 400; tries++) await delay(50);
  expect(existsSync(dirname(dataDirectory))).toBe(false);
  await expect(withClient(server!.url, (client) => client.query('SELECT'))).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  });
});
