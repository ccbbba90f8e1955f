import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type ResidueClass } from '../../src/fence/residue';
import { setFence } from '../../src/fence/set-fence';
import { type ShardMap } from '../../src/shards/shard-map';
import { quietDataSource } from '../support/database/quiet-data-source';
import { compiled } from '../support/jest/compiled';
import { Dice } from './dice';
import { ask } from './http';
import { type Entry } from './journal';
import { type Line } from './ledger';
import { MemberProcess, type Program } from './member-process';
import { Network } from './network';
import { Queues } from './queues';
import { WorldDatabase, type Servers } from './world-database';
import { type Role, Slot } from './slot';
import { WATCH_TRANSITIONS } from './transitions';
import { type Webhook } from './webhooks';

/** Of those who reach all databases. */
const MEMBERS = { api: 2, worker: 3, voider: 1, scheduler: 2 } as const;
/** Of a database. */
const RELAYS = 2;

const PACE = ['--retry-delay-ms', '20', '--max-retry-delay-ms', '500', '--max-reconnect-delay-ms', '300'];
const BOUNDS = ['--batch-size', '20', '--max-attempts', '8'];
const RELAY = ['relay', '--publisher', compiled('test/chaos/publisher.ts'), ...PACE, ...BOUNDS];

/** All that takes part: databases on servers of their own, a processor, queues, and the processes around them. */
export class World {
  /** What the processes were confirmed, and what befell them. */
  readonly journal: Entry[] = [];
  readonly slots: Slot[] = [];
  /** Each has its class of the restaurants: one at first, and more when it is split. */
  readonly databases: WorldDatabase[] = [];
  /** From now on nothing misbehaves that is started. */
  calm = false;
  queues!: Queues;
  #version = 1;
  #isRemoved = false;
  readonly #hired = new Set<MemberProcess>();
  readonly #servers: Servers[] = [];
  readonly #added: WorldDatabase[] = [];
  #processor!: MemberProcess;
  #processorUrl!: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'chaos-'));

  private constructor(readonly seed: string) {}

  /** @param servers are removed with the world, also where it does not start */
  static async start(seed: string, servers: Servers): Promise<World> {
    const world = new World(seed);
    try {
      await world.#start(servers);
      return world;
    } catch (error) {
      await world.remove();
      throw error;
    }
  }

  /** The map past all networks that fail. */
  get map(): ShardMap {
    return { version: this.#version, shards: this.databases.map((database) => database.entry()) };
  }

  /** What all databases have of their own restaurants, one after the other. */
  async query<Row>(select: string, params?: unknown[]): Promise<Row[]> {
    const rows = [];
    for (const database of this.databases) rows.push(...(await database.select<Row>(select, params)));
    return rows;
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
    for (const slot of this.slots) if (roles.includes(slot.role)) slot.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.stop()));
  }

  /** The database is on another server now: every network leads there from then on. */
  async moved(database: WorldDatabase): Promise<void> {
    await database.disconnect();
    for (const { network } of this.slots) network.repoint(database);
  }

  /** One that a split is to fill, on servers that are removed with the world: it is in no map yet. */
  async addDatabase(servers: Servers, owns: ResidueClass): Promise<WorldDatabase> {
    this.#servers.push(servers);
    const database = await WorldDatabase.create(servers, this.#servers.length - 1, owns);
    this.#added.push(database);
    const owner = await quietDataSource({ url: database.url });
    await owner.runMigrations();
    await owner.destroy();
    await database.query(WATCH_TRANSITIONS);
    return database;
  }

  /** From the next map on it has its restaurants. */
  admit(database: WorldDatabase): void {
    this.databases.push(database);
    this.#version++;
  }

  /** Of a database that is new. */
  async startRelays(database: WorldDatabase): Promise<void> {
    await this.#addRelays(database);
    for (const slot of this.slots) if (slot.reaches === database) slot.start();
  }

  /** Some find the newest map from now on. Those that are left out go on with theirs. */
  async publishMap(slots: readonly Slot[] = this.slots): Promise<void> {
    for (const { network, reaches } of slots)
      if (reaches === 'all') await network.publish(this.map.version, this.databases);
  }

  /** A process that ends by itself, or with the world. */
  hire(program: Program): MemberProcess {
    if (this.#isRemoved) throw new Error('The world is over.');
    const process = new MemberProcess(program);
    this.#hired.add(process);
    void process.ended.then(() => this.#hired.delete(process));
    return process;
  }

  async remove(): Promise<void> {
    this.#isRemoved = true;
    await Promise.all([...this.#hired].map((process) => process.kill()));
    await this.stop();
    await this.#processor?.kill();
    await this.queues?.close();
    for (const { network } of this.slots) await network.close();
    for (const database of this.#added) await database.disconnect();
    for (const servers of this.#servers) await servers.remove();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The map past all networks that fail, as a file. */
  mapFile(): string {
    const file = this.#fileOf('map');
    writeFileSync(file, JSON.stringify(this.map));
    return file;
  }

  #fileOf(name: string): string {
    return join(this.#folder, `${name}.json`);
  }

  async #start(servers: Servers): Promise<void> {
    const first = await this.addDatabase(servers, { modulus: 1, remainder: 0 });
    const owner = await quietDataSource({ url: first.url });
    await setFence(owner, first.owns);
    await owner.destroy();
    this.databases.push(first);
    this.queues = await Queues.start(new Dice(`${this.seed} queues`));
    await this.#startProcessor();
    for (const [role, count] of Object.entries(MEMBERS)) {
      for (let number = 1; number <= count; number++) this.#addMember(role as Role, `${role}${number}`);
    }
    await this.#addRelays(first);
    await this.publishMap();
  }

  async #startProcessor(): Promise<void> {
    const ready = new Promise<string>((resolve) => {
      const hear = (entry: Entry) => 'ready' in entry && resolve(entry.ready);
      const env = { CHAOS_SEED: this.seed, BROKER_URL: this.queues.url };
      this.#processor = new MemberProcess({ module: 'test/chaos/processor.ts', env, hear });
    });
    const ended = this.#processor.ended.then(() => {
      throw new Error(`The processor does not start: ${this.#processor.stderr}`);
    });
    ended.catch(() => undefined);
    this.#processorUrl = await Promise.race([ready, ended]);
  }

  #addMember(role: Role, name: string): void {
    const network = new Network(this.#fileOf(name));
    const program = (start: number) => ({
      module: `test/chaos/members/${role}.ts`,
      env: {
        ...this.#environment(name, start),
        ...{ CHAOS_FROM: String(this.#nextOf(name)), PAYMENT_EVENTS_DB_SHARDS: network.mapFile },
        ...{ PROCESSOR_URL: this.#processorUrl },
      },
    });
    this.slots.push(new Slot(role, name, 'all', network, program, (entry) => this.journal.push(entry)));
  }

  async #addRelays(database: WorldDatabase): Promise<void> {
    for (let number = 1; number <= RELAYS; number++) {
      const name = `relay${database.number * RELAYS + number}`;
      const network = new Network(this.#fileOf(name));
      const url = await network.urlOf(database);
      const program = (start: number) => ({
        module: 'src/cli/main.ts',
        args: [...RELAY, '--publish-timeout-ms', this.calm ? '60000' : '2000'],
        env: { ...this.#environment(name, start), PAYMENT_EVENTS_DB_POOL_SIZE: '2', DATABASE_URL: url },
      });
      this.slots.push(new Slot('relay', name, database, network, program, (entry) => this.journal.push(entry)));
    }
  }

  #environment(name: string, start: number) {
    const environment = { CHAOS_NAME: name, CHAOS_SEED: `${this.seed} ${name} ${start}` };
    return { ...environment, CHAOS_CALM: this.calm ? '1' : '', BROKER_URL: this.queues.url };
  }

  /** An API begins some requests before the last one that its predecessor had an answer for. */
  #nextOf(name: string): number {
    const last = this.journal.findLast(
      (entry) => 'did' in entry && entry.did === 'authorize' && entry.key.startsWith(`${name} `),
    );
    return last && 'key' in last ? Math.max(1, Number(last.key.split(' ')[1]) - 10) : 1;
  }
}

/** Waits for a condition, however long that takes; fails where a process has said that something must not be. */
export async function until(world: World, what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) {
    const fault = world.journal.find((entry) => 'fault' in entry);
    if (fault) throw new Error((fault as { fault: string }).fault);
    await delay(100);
  }
}

/** Waits until all processes are up, and the first requests have gone all the way. */
export async function untilBusy(world: World): Promise<void> {
  const { journal, slots } = world;
  await until(world, () => slots.every(({ ready }) => ready));
  await until(world, () => journal.filter((entry) => 'did' in entry && entry.did === 'authorized').length >= 20);
}
