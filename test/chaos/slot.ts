import { setTimeout as delay } from 'node:timers/promises';
import { type Entry } from './journal';
import { MemberProcess, type Program } from './member-process';
import { type Network } from './network';
import { type WorldDatabase } from './world-database';

/** What a process is there for. */
export type Role = 'api' | 'worker' | 'voider' | 'scheduler' | 'relay';

/** A process that is started again however it ends, as an orchestrator does, with a network of its own to the databases. */
export class Slot {
  /** How many processes it has been. */
  starts = 0;
  ready = false;
  #process: MemberProcess | undefined;
  #stopped = Promise.resolve();
  #running = false;

  /** @param program of the n-th process */
  constructor(
    readonly role: Role,
    readonly name: string,
    /** By a map; or one of them, as a relay. */
    readonly reaches: 'all' | WorldDatabase,
    readonly network: Network,
    private readonly program: (start: number) => Omit<Program, 'hear'>,
    private readonly hear: (entry: Entry) => void,
  ) {}

  get process(): MemberProcess | undefined {
    return this.#process;
  }

  start(): void {
    this.#running = true;
    this.#stopped = this.#supervise();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#process?.kill();
    await this.#stopped;
  }

  async #supervise(): Promise<void> {
    while (this.#running) {
      const hear = (entry: Entry & { event?: string }) => {
        if ('ready' in entry || entry.event === 'started') this.ready = true;
        else if (entry.event === undefined) this.hear(entry);
      };
      const process = (this.#process = new MemberProcess({ ...this.program(++this.starts), hear }));
      const exitCode = await process.ended;
      // Nothing ends by itself, but a relay that finds no database at its start.
      if (exitCode !== null && exitCode !== UNREACHABLE) {
        this.hear({ fault: `${this.name} ended with ${exitCode}: ${process.stderr.slice(0, 2_000)}` });
      }
      await delay(50);
    }
  }
}

const UNREACHABLE = 3;
