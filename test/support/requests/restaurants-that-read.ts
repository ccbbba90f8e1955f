import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { DatabaseUnavailableError } from '../../../src/errors';
import { type ReplicaReads } from '../../../src/replica-reads/replica-reads';
import { type SeenRequest } from '../../../src/replica-reads/seen-request';
import { within } from '../processes/within';
import { LifeOfRequests } from './life-of-requests';

const LIMIT_MS = 120_000;
const RESTAURANTS = 40;

/** What reads have come to. */
export class Tally {
  reads = 0;
  replica = 0;
  primary = 0;
  unavailable = 0;
  /** Of reads that ask the replica alone, without anything of this package's. */
  staleWithout = 0;
  readonly wrong: unknown[] = [];

  count(what: string, { from }: { from: 'replica' | 'primary' }, wrong: object[]): void {
    this.reads++;
    this[from]++;
    for (const each of wrong) this.wrong.push({ what, from, ...each });
  }
}

/** What of an answer is older than it was seen, or not what the request was at that event. */
function wrongIn(
  life: LifeOfRequests,
  asked: readonly (readonly [string, number])[],
  answers: readonly (SeenRequest & { status: string })[],
) {
  const byId = new Map(answers.map((answer) => [answer.authRequestId, answer]));
  const stale = asked.filter(([id, seen]) => (byId.get(id)?.lastEventSequence ?? -1) < seen);
  const untrue = answers.filter((answer) => (life.statusAt(answer) ?? answer.status) !== answer.status);
  return [...stale.map(([id, seen]) => ({ id, seen, got: byId.get(id) })), ...untrue];
}

async function readRequest(
  life: LifeOfRequests,
  { authRequestId, lastEventSequence }: SeenRequest,
  reads: ReplicaReads,
  tally: Tally,
) {
  const found = await reads.get({ restaurantId: life.restaurantId, authRequestId }, { atLeast: lastEventSequence });
  const from = found?.from ?? 'primary';
  tally.count('get', { from }, wrongIn(life, [[authRequestId, lastEventSequence]], found ? [found] : []));
}

/** All pages, of what was seen of the restaurant's requests when it began. */
async function readList(life: LifeOfRequests, seen: SeenRequest, reads: ReplicaReads, tally: Tally) {
  const asked = [...life.seen];
  const found: (SeenRequest & { status: string })[] = [];
  let after: string | undefined;
  do {
    const atLeast = after === undefined ? seen : [seen, ...found.slice(-3)];
    const page = await reads.list({ restaurantId: life.restaurantId, limit: 3, after }, { atLeast });
    found.push(...page.requests);
    after = page.next;
    tally.count('list', page, []);
  } while (after !== undefined);
  for (const wrong of wrongIn(life, asked, found)) tally.wrong.push({ what: 'list', ...wrong });
}

/** Takes a step and reads what it came to, until it is to stop. */
async function live(
  { replica, patient, impatient }: Places,
  life: LifeOfRequests,
  tally: Tally,
  isOver: () => boolean,
): Promise<void> {
  for (let turn = 0; !isOver(); turn++) {
    try {
      const seen = await life.step();
      const naive = await new AuthRequests(replica)
        .get({ restaurantId: life.restaurantId, ...seen })
        .catch(() => undefined);
      if (naive !== undefined && (naive?.lastEventSequence ?? 0) < seen.lastEventSequence) tally.staleWithout++;
      const reads = turn % 4 === 3 ? impatient : patient;
      await Promise.all([
        ...Array.from({ length: 4 }, () => readRequest(life, seen, reads, tally)),
        ...(turn % 3 === 0 ? [readList(life, seen, reads, tally)] : []),
      ]);
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError)) throw error;
      tally.unavailable++;
      await delay(100);
    }
  }
}

/** Where restaurants write, and from where they read. */
interface Places {
  readonly primary: DataSource;
  /** The replica alone. */
  readonly replica: DataSource;
  readonly patient: ReplicaReads;
  readonly impatient: ReplicaReads;
}

/** Many restaurants at once, each of which reads what it has just done, by number and in pages. */
export class Restaurants {
  readonly tally = new Tally();
  readonly #ended: Promise<unknown>;
  #stopping = false;

  constructor(places: Places) {
    const lives = Array.from({ length: RESTAURANTS }, () => new LifeOfRequests(places.primary));
    this.#ended = Promise.all(lives.map((life) => live(places, life, this.tally, () => this.#stopping)));
    this.#ended.catch(() => undefined);
  }

  /** Waits for something to happen, or for their failure. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    const happened = async () => {
      while (!isSo()) await delay(20);
    };
    await within(LIMIT_MS, what, Promise.race([happened(), this.#ended]));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await within(LIMIT_MS, 'the last reads', this.#ended);
  }
}
