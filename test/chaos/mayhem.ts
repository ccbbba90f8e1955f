import { setTimeout as delay } from 'node:timers/promises';
import { Dice } from './dice';
import { type Slot } from './slot';
import { type World } from './world';

/** At most so many bytes go through before a connection is cut: the beginning of one, a statement, several of them. */
const MOST_BYTES = [200, 1_500, 8_000];

/**
 * Does harm until its time is over, decided by the seed: processes killed and paused, connections cut, networks that
 * swallow, the server killed; once, in the middle, the standby takes over for good.
 */
export class Mayhem {
  /** What was done, in its order. */
  readonly done: string[] = [];
  /** Connections that were cut in the middle of what went through. */
  cuts = 0;
  readonly #dice: Dice;
  readonly #world: World;
  readonly #began = performance.now();

  constructor(world: World) {
    this.#world = world;
    this.#dice = new Dice(`${world.seed} mayhem`);
  }

  async run(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    await Promise.all([this.#harmProcesses(end), this.#harmServers(end)]);
    for (const slot of this.#world.slots) {
      slot.proxy.intercept = undefined;
      rejoin(slot);
    }
  }

  async #harmProcesses(end: number): Promise<void> {
    while (performance.now() < end) {
      await delay(this.#dice.between(100, 900));
      await this.#harm(this.#dice.pick(this.#world.slots));
    }
  }

  /** The failover is in the middle; before it and after it the server dies, twice a minute in a long run. */
  async #harmServers(end: number): Promise<void> {
    const began = performance.now();
    const dice = new Dice(`${this.#world.seed} servers`);
    const crashes = Math.max(1, Math.round((end - began) / 60_000));
    const share = (end - began) / (2 * crashes + 1);
    for (let step = 1; step <= 2 * crashes + 1; step++) {
      await delay(Math.max(0, began + (step - dice.next()) * share - performance.now()));
      if (step === crashes + 1) await this.#do('failover', () => this.#world.failOver());
      // Where a crash has taken so long that there is no time for more of them.
      else if (performance.now() < end) await this.#do('server killed', () => this.#world.servers.crash());
    }
  }

  async #harm(slot: Slot): Promise<void> {
    const { name, proxy } = slot;
    const kind = this.#dice.next();
    const milliseconds = this.#dice.between(100, 9_000);
    if (kind < 0.2) {
      // One that is not up yet has nothing to lose.
      if (slot.ready) await this.#do(`${name} killed`, () => this.#kill(slot));
    } else if (kind < 0.4) {
      await this.#do(`${name} paused for ${milliseconds} ms`, () => slot.process?.pause(milliseconds));
    } else if (kind < 0.8) {
      const what = this.#dice.pick(['requests', 'answers'] as const);
      const bytes = this.#dice.between(0, this.#dice.pick(MOST_BYTES));
      await this.#do(`${what} of ${name} cut after ${bytes} bytes`, () =>
        cutAfter(slot, what, bytes, () => void this.cuts++),
      );
    } else if (kind < 0.88) {
      await this.#do(`${name} cut off`, () => proxy.cut());
    } else {
      const what = this.#dice.pick(['requests', 'answers'] as const);
      await this.#do(`${what} of ${name} swallowed for ${milliseconds} ms`, () => {
        proxy.swallow = what;
        setTimeout(() => rejoin(slot), milliseconds).unref();
      });
    }
  }

  async #kill(slot: Slot): Promise<void> {
    slot.ready = false;
    await slot.process?.kill();
  }

  async #do(what: string, act: () => unknown): Promise<void> {
    this.done.push(`${((performance.now() - this.#began) / 1_000).toFixed(1)} s: ${what}`);
    await act();
  }
}

/** What was swallowed is not sent again here, so that what hangs on it ends. */
function rejoin({ proxy }: Slot): void {
  proxy.swallow = 'nothing';
  proxy.cut();
}

/** The connection through which the byte after these would go ends before it: in the middle of a packet, as it comes. */
function cutAfter({ proxy }: Slot, what: 'requests' | 'answers', bytes: number, cut: () => void): void {
  let left = bytes;
  proxy.intercept = (direction, data) => {
    if (direction !== what) return undefined;
    if (data.length <= left) {
      left -= data.length;
      return undefined;
    }
    proxy.intercept = undefined;
    cut();
    return { pass: data.subarray(0, left), end: true };
  };
}
