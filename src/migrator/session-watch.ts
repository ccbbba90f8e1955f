import { Client } from 'pg';
import { type DataSource, type QueryRunner } from 'typeorm';
import { poolOf } from '../database/connections';
import { expectAnswer } from '../database/expect-answer';
import { sql } from '../database/sql';
import { blockingSessions, type Session } from './blocking-sessions';
import { PIN_SETTINGS } from '../database/pinned-settings';

/** How often it looks, in milliseconds. A lock is waited for longer than that, so none is overlooked. */
const LOOK_EVERY_MS = 500;

/** Longest wait for an answer to a look, in milliseconds: a network that swallows it must not hold up the migration. */
const LOOK_TAKES_MS = 5_000;

/** How often it says how things stand, in milliseconds; what is over sooner is not worth a word. */
const SAY_EVERY_MS = 2_000;

interface IndexProgress {
  index: string;
  phase: string;
  percent: number | null;
}

/** PostgreSQL manual, "CREATE INDEX Progress Reporting". */
const indexProgress = (pid: number) => sql`
  SELECT coalesce(index_relid::regclass::text, relid::regclass::text) AS index, phase,
         (100 * nullif(tuples_done + blocks_done, 0) / nullif(tuples_total + blocks_total, 0))::integer AS percent
  FROM pg_stat_progress_create_index WHERE pid = ${pid}`;

/**
 * Watches the session that migrates from a connection of its own, since a session that waits cannot say for what. Speaks
 * of what takes over two seconds, and knows who was in the way.
 */
export class SessionWatch {
  /** The sessions that were in the way when it last saw the session wait in this step. */
  blockers: readonly Session[] = [];
  readonly #client: Client;
  readonly #timer: NodeJS.Timeout;
  #connected: Promise<unknown> | undefined;
  #looking: Promise<void> | undefined;
  #step = '';
  #stepBegan = performance.now();
  #sayNext = Infinity;

  private constructor(
    dataSource: DataSource,
    private readonly pid: number,
    private readonly say: (message: string) => void,
  ) {
    const { options } = poolOf(dataSource);
    // Its own class of clients asks for the password.
    const { Client: OfPool = Client } = options as { Client?: typeof Client };
    this.#client = new OfPool(options).on('error', () => undefined);
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    }, LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** Connects when there is something to watch for longer than a moment. */
  static async start(queryRunner: QueryRunner, say: (message: string) => void): Promise<SessionWatch> {
    const [row] = (await queryRunner.query('SELECT pg_backend_pid() AS pid')) as { pid: number }[];
    return new SessionWatch(queryRunner.dataSource, row!.pid, say);
  }

  /** What the session begins with now, such as the name of a migration. */
  begin(step: string): void {
    [this.#step, this.#stepBegan, this.blockers] = [step, performance.now(), []];
    this.#sayNext = this.#stepBegan + SAY_EVERY_MS;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    if (!this.#connected) return;
    const ended = expectAnswer(this.#client, LOOK_TAKES_MS);
    await this.#client.end();
    ended();
  }

  async #look(): Promise<void> {
    const answered = expectAnswer(this.#client, LOOK_TAKES_MS);
    try {
      await (this.#connected ??= this.#client.connect().then(() => this.#client.query(PIN_SETTINGS)));
      const { rows: blockers } = await this.#client.query<Session>(blockingSessions(this.pid));
      if (blockers.length > 0) this.blockers = blockers;
      if (performance.now() < this.#sayNext) return;
      this.#sayNext = performance.now() + SAY_EVERY_MS;
      const seconds = Math.round((performance.now() - this.#stepBegan) / 1_000);
      this.say(`${this.#step}: ${seconds} s so far${waitingFor(blockers) || (await this.#indexProgress())}`);
    } catch {
      // It only watches: the migration goes on unwatched.
    } finally {
      answered();
    }
  }

  async #indexProgress(): Promise<string> {
    const { rows } = await this.#client.query<IndexProgress>(indexProgress(this.pid));
    return rows
      .map(({ index, phase, percent }) => `; ${index}: ${phase}${percent === null ? '' : ` ${percent} %`}`)
      .join('');
  }
}

function waitingFor(blockers: readonly Session[]): string {
  if (blockers.length === 0) return '';
  const named = blockers.map(({ pid, applicationName, state }) => `${pid} (${applicationName || 'unnamed'}, ${state})`);
  return `; waiting for process ${named.join(', ')}`;
}
