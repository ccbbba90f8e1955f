import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, Service } from './service.mjs';

const PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server';
const IMAGE = 'rabbitmq:4';
const START_WITHIN_MS = 120_000;

/**
 * RabbitMQ: the one of `BROKER_URL`, else the package that is installed, else a container.
 *
 * @returns where it is, and how to stop it
 */
export async function startBroker() {
  const given = process.env.BROKER_URL;
  if (given) return { url: given, stop: () => Promise.resolve() };
  const hasDocker = () => spawnSync('docker', ['info'], { timeout: 5_000 }).status === 0;
  if (!existsSync(PROGRAM) && !hasDocker()) {
    throw new Error(
      'There is no RabbitMQ. Install it (Debian: apt-get install -y rabbitmq-server), start Docker, or set BROKER_URL.',
    );
  }
  const port = await freePort();
  const broker = existsSync(PROGRAM) ? await installed(port) : contained(port);
  const failed = broker.service.ended.then((what) => Promise.reject(new Error(what)));
  await Promise.race([answers(port), failed]);
  failed.catch(() => undefined);
  return { url: `amqp://guest:guest@127.0.0.1:${port}`, ended: broker.service.ended, stop: broker.stop };
}

async function installed(port) {
  const folder = mkdtempSync(join(tmpdir(), 'examples-rabbitmq-'));
  writeFileSync(join(folder, 'enabled_plugins'), '[].\n');
  // Ports and names of its own: no other broker of this machine is met.
  const env = {
    HOME: folder,
    ERL_EPMD_PORT: `${await freePort()}`,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `examples-${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: `${port}`,
    RABBITMQ_DIST_PORT: `${await freePort()}`,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'none.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
  };
  const names = new Service('epmd', ['epmd', '-port', env.ERL_EPMD_PORT], { env, quiet: true });
  const service = new Service('RabbitMQ', [PROGRAM], { env, quiet: true });
  const stop = async () => {
    await service.stop();
    await names.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { service, stop };
}

function contained(port) {
  const command = ['docker', 'run', '--rm', '--publish', `127.0.0.1:${port}:5672`, IMAGE];
  const service = new Service('RabbitMQ', command, { quiet: true });
  return { service, stop: () => service.stop() };
}

/** When it speaks AMQP: a port that is open says little, a container's is from the start. */
async function answers(port) {
  for (const deadline = Date.now() + START_WITHIN_MS; Date.now() < deadline; await delay(200)) {
    const isThere = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('AMQP\0\0\x09\x01'));
      socket.once('data', () => resolve(true));
      socket.once('error', () => resolve(false)).once('close', () => resolve(false));
      socket.setTimeout(2_000, () => socket.destroy());
    });
    if (isThere) return;
  }
  throw new Error(`RabbitMQ does not answer at port ${port}.`);
}
