import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Channel, connect } from 'amqplib';
import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { BoundProcess, freePort } from '../processes/bound-process';
import { hasDocker } from '../processes/docker';

/** What RabbitMQ takes at most, so that a test need not send much. */
export const MAX_MESSAGE_BYTES = 1_048_576;

const USER = 'relay';
export const PASSWORD = 'hunter2-of-the-broker';
const CONFIG = [
  `default_user = ${USER}`,
  `default_pass = ${PASSWORD}`,
  'loopback_users = none',
  `max_message_size = ${MAX_MESSAGE_BYTES}`,
  'disk_free_limit.absolute = 1MB',
  '',
].join('\n');
const START_TIMEOUT_MS = 50_000;

/** A RabbitMQ of a test's own, always at the same address. */
export abstract class RabbitMq {
  protected constructor(readonly port: number) {}

  /** With the password in it. */
  get url(): string {
    return `amqp://${USER}:${PASSWORD}@127.0.0.1:${this.port}`;
  }

  /** Starts it, again after a {@link kill}, with what it had written to its disk. */
  async start(): Promise<void> {
    await this.launch();
    for (const deadline = Date.now() + START_TIMEOUT_MS; ; await delay(100)) {
      try {
        return await this.session(() => Promise.resolve());
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`RabbitMQ does not start:\n${this.log()}`, { cause: error });
      }
    }
  }

  /** A channel for the time of `use`, to declare and to look. */
  async session<T>(use: (channel: Channel) => Promise<T>): Promise<T> {
    const connection = await connect(this.url);
    try {
      return await use(await connection.createChannel());
    } finally {
      await connection.close();
    }
  }

  /** Every message of a queue, in its order; they are gone then. */
  async drain(queue: string) {
    return await this.session(async (channel) => {
      const messages = [];
      for (;;) {
        const message = await channel.get(queue, { noAck: true });
        if (!message) return messages;
        messages.push(message);
      }
    });
  }

  protected abstract launch(): void | Promise<void>;
  protected abstract log(): string;
  /** Without a word to anybody. */
  abstract kill(): Promise<void>;
  /** @param command of rabbitmqctl */
  abstract control(...command: string[]): Promise<void>;
  /** Ends it and removes its data. */
  abstract remove(): Promise<void>;
}

const PROGRAMS = '/usr/lib/rabbitmq/bin';

class InstalledRabbitMq extends RabbitMq {
  readonly #folder = mkdtempSync(join(tmpdir(), 'rabbitmq-'));
  readonly #env: Record<string, string>;
  #process: BoundProcess | undefined;

  /** @param ports of AMQP, of Erlang's distribution and of its name server: no other broker of this machine is met */
  constructor([port, distribution, names]: [number, number, number]) {
    super(port);
    writeFileSync(join(this.#folder, 'rabbitmq.conf'), CONFIG);
    writeFileSync(join(this.#folder, 'enabled_plugins'), '[].\n');
    this.#env = {
      HOME: this.#folder,
      ERL_EPMD_PORT: `${names}`,
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_NODENAME: `test-${port}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: `${port}`,
      RABBITMQ_DIST_PORT: `${distribution}`,
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
      RABBITMQ_MNESIA_BASE: join(this.#folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(this.#folder, 'log'),
      RABBITMQ_PID_FILE: join(this.#folder, 'pid'),
      RABBITMQ_CONFIG_FILE: join(this.#folder, 'rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(this.#folder, 'enabled_plugins'),
    };
  }

  protected launch(): void {
    // The name server in the foreground and first: one that Erlang starts by itself would stay for ever.
    const nameServer = 'epmd -port "$ERL_EPMD_PORT" & until epmd -port "$ERL_EPMD_PORT" -names; do sleep 0.05; done';
    const command = ['/bin/sh', '-c', `${nameServer}; exec ${PROGRAMS}/rabbitmq-server`];
    this.#process = new BoundProcess(command, { env: this.#env, log: join(this.#folder, 'output.log') });
  }

  protected log(): string {
    return readFileSync(join(this.#folder, 'output.log'), 'utf8');
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async control(...command: string[]): Promise<void> {
    await promisify(execFile)(`${PROGRAMS}/rabbitmqctl`, command, { env: { ...process.env, ...this.#env } });
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

class ContainedRabbitMq extends RabbitMq {
  #container: StartedTestContainer | undefined;

  constructor(port: number) {
    super(port);
  }

  protected async launch(): Promise<void> {
    if (this.#container) return await this.#container.restart();
    this.#container = await new GenericContainer('rabbitmq:4')
      .withExposedPorts({ container: 5672, host: this.port })
      .withCopyContentToContainer([{ content: CONFIG, target: '/etc/rabbitmq/conf.d/20-test.conf' }])
      .start();
  }

  protected log(): string {
    return 'See the log of its container.';
  }

  async kill(): Promise<void> {
    await this.#container?.exec(['kill', '-KILL', '1']).catch(() => undefined);
    await this.#container?.stop({ timeout: 1, remove: false });
  }

  async control(...command: string[]): Promise<void> {
    const { exitCode, output } = (await this.#container?.exec(['rabbitmqctl', ...command])) ?? {};
    if (exitCode !== 0) throw new Error(output);
  }

  async remove(): Promise<void> {
    await this.#container?.stop();
  }
}

const installed = existsSync(`${PROGRAMS}/rabbitmq-server`);
const missing = !installed && !hasDocker();
const REMEDY = 'Install it (Debian: apt-get install -y rabbitmq-server) or start Docker.';
if (missing && !process.env.CI) process.stderr.write(`Skips what needs RabbitMQ. ${REMEDY}\n`);

/** Tests that need RabbitMQ: skipped where there is none, but for CI, where that is a failure. */
export const describeRabbitMq = missing && !process.env.CI ? describe.skip : describe;

/** Debian's package where it is installed, else a container. */
export async function startRabbitMq(): Promise<RabbitMq> {
  if (missing) throw new Error(`There is no RabbitMQ. ${REMEDY}`);
  const broker = installed
    ? new InstalledRabbitMq([await freePort(), await freePort(), await freePort()])
    : new ContainedRabbitMq(await freePort());
  await broker.start().catch(async (error: unknown) => {
    await broker.remove();
    throw error;
  });
  return broker;
}
