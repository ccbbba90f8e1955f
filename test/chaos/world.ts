import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { createTestDatabase, databaseUrl } from '../../src/testing';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { ReplicatedServers } from '../support/database/replicated-servers';
import { Dice } from './dice';
import { ask } from './http';
import { type Entry } from './journal';
import { type Line } from './ledger';
import { MemberProcess } from './member-process';
import { Queues } from './queues';
import { Slot } from './slot';
import { WATCH_TRANSITIONS } from './transitions';
import { type Webhook } from './webhooks';

const MEMBERS = { api: 2, worker: 3, voider: 1, scheduler: 2, relay: 2 } as const;
type Role = keyof typeof MEMBERS;

const PACE = ['--retry-delay-ms', '20', '--max-retry-delay-ms', '500', '--max-reconnect-delay-ms', '300'];
const BOUNDS = ['--batch-size', '20', '--max-attempts', '8'];
const RELAY = ['src/cli/main.ts', 'relay', '--publisher', './test/chaos/publisher.ts', ...PACE, ...BOUNDS];

/** All that takes part: two servers, a processor, queues, and the processes around them. */
export class World {
  /** What the processes were confirmed, and what befell them. */
  readonly journal: Entry[] = [];
  readonly slots: Slot[] = [];
  /** From now on nothing misbehaves that is started. */
  calm = false;
  servers!: ReplicatedServers;
  queues!: Queues;
  #database!: string;
  #processor!: MemberProcess;
  #processorUrl!: string;
  #pool: Pool | undefined;

  private constructor(readonly seed: string) {}

  static async start(seed: string): Promise<World> {
    const world = new World(seed);
    try {
      await world.#start();
      return world;
    } catch (error) {
      await world.remove();
      throw error;
    }
  }

  /** The database on the server that takes writes, past all networks that fail. */
  get url(): string {
    return databaseUrl(this.servers.writable.url, this.#database);
  }

  async query<Row>(sql: string, params?: unknown[]): Promise<Row[]> {
    this.#pool ??= new Pool({ connectionString: this.url, max: 2 }).on('error', () => undefined);
    return (await this.#pool.query(sql, params)).rows as Row[];
  }

  async ledger(): Promise<Line[]> {
    return await ask<Line[]>(`${this.#processorUrl}/ledger`, {});
  }

  /** All that the processor has told by itself. */
  async webhooks(): Promise<Webhook[]> {
    return await ask<Webhook[]>(`${this.#processorUrl}/webhooks`, {});
  }

  /** The processor does what it has been asked late, and from then on all at once. */
  async calmProcessor(): Promise<void> {
    await ask(`${this.#processorUrl}/calm`, {});
  }

  async void(id: string): Promise<void> {
    await ask(`${this.#processorUrl}/void`, { id });
  }

  start(...roles: Role[]): void {
    for (const slot of this.slots) if (roles.includes(roleOf(slot))) slot.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.stop()));
  }

  /** The standby takes over: every network leads to it from then on. */
  async failOver(): Promise<void> {
    await this.servers.primary.kill();
    await this.#pool?.end();
    this.#pool = undefined;
    for (const { proxy } of this.slots) proxy.repoint(databaseUrl(this.servers.standby.url, this.#database));
    await this.servers.promote();
  }

  async remove(): Promise<void> {
    await this.stop();
    await this.#processor?.kill();
    await this.queues?.close();
    await this.#pool?.end();
    for (const { proxy } of this.slots) await proxy.close();
    await this.servers?.remove();
  }

  async #start(): Promise<void> {
    this.servers = await ReplicatedServers.start();
    const { url } = await createTestDatabase(this.servers.primary.url);
    this.#database = new URL(url).pathname.slice(1);
    const owner = await quietDataSource({ url });
    await owner.runMigrations();
    await owner.destroy();
    await this.query(WATCH_TRANSITIONS);
    this.queues = await Queues.start(new Dice(`${this.seed} queues`));
    await this.#startProcessor();
    for (const role of Object.keys(MEMBERS) as Role[]) {
      for (let number = 1; number <= MEMBERS[role]; number++) await this.#addSlot(role, `${role}${number}`);
    }
  }

  async #startProcessor(): Promise<void> {
    const ready = new Promise<string>((resolve) => {
      const hear = (entry: Entry) => 'ready' in entry && resolve(entry.ready);
      const env = { CHAOS_SEED: this.seed, BROKER_URL: this.queues.url };
      this.#processor = new MemberProcess({ command: ['test/chaos/processor.ts'], env, hear });
    });
    const ended = this.#processor.ended.then(() => {
      throw new Error(`The processor does not start: ${this.#processor.stderr}`);
    });
    ended.catch(() => undefined);
    this.#processorUrl = await Promise.race([ready, ended]);
  }

  async #addSlot(role: Role, name: string): Promise<void> {
    const proxy = await Proxy.start(this.url);
    const program = (start: number) => ({
      command:
        role === 'relay'
          ? [...RELAY, '--publish-timeout-ms', this.calm ? '60000' : '2000']
          : [`test/chaos/members/${role}.ts`],
      env: {
        ...{ CHAOS_NAME: name, CHAOS_SEED: `${this.seed} ${name} ${start}`, CHAOS_CALM: this.calm ? '1' : '' },
        ...{ CHAOS_FROM: String(this.#nextOf(name)), PAYMENT_EVENTS_DB_POOL_SIZE: '2' },
        ...{ DATABASE_URL: proxy.url, BROKER_URL: this.queues.url, PROCESSOR_URL: this.#processorUrl },
      },
    });
    this.slots.push(new Slot(name, proxy, program, (entry) => this.journal.push(entry)));
  }

  /** An API begins some requests before the last one that its predecessor had an answer for. */
  #nextOf(name: string): number {
    const last = this.journal.findLast(
      (entry) => 'did' in entry && entry.did === 'authorize' && entry.key.startsWith(`${name} `),
    );
    return last && 'key' in last ? Math.max(1, Number(last.key.split(' ')[1]) - 10) : 1;
  }
}

const roleOf = ({ name }: Slot) => name.replace(/\d+$/, '') as Role;

/** Waits for a condition, however long that takes; fails where a process has said that something must not be. */
export async function until(world: World, what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) {
    const fault = world.journal.find((entry) => 'fault' in entry);
    if (fault) throw new Error((fault as { fault: string }).fault);
    await delay(100);
  }
}
