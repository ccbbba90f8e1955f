import { setTimeout as delay } from 'node:timers/promises';
import { type Proxy } from '../support/database/proxy';
import { Dice } from './dice';
import { type Slot } from './slot';
import { type World } from './world';

/** At most so many bytes go through before a connection is cut: the beginning of one, a statement, several of them. */
const MOST_BYTES = [200, 1_500, 8_000];

/**
 * Does harm until its time is over, decided by the seed: processes killed and paused, connections cut, networks that
 * swallow.
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

  /** @param more is done beside it, and is waited for, such as what happens to the servers */
  async run(milliseconds: number, more: (end: number) => Promise<void>): Promise<void> {
    let goesOn = true;
    const end = performance.now() + milliseconds;
    const harm = this.#harmProcesses(() => goesOn);
    try {
      await more(end);
      await delay(Math.max(0, end - performance.now()));
    } finally {
      goesOn = false;
      await harm;
    }
    for (const { network } of this.#world.slots) {
      for (const proxy of network.proxies) {
        proxy.intercept = undefined;
        rejoin(proxy);
      }
    }
  }

  /** Does a thing and notes it. */
  async do<T>(what: string, act: () => T | Promise<T>): Promise<T> {
    this.done.push(`${((performance.now() - this.#began) / 1_000).toFixed(1)} s: ${what}`);
    return await act();
  }

  async #harmProcesses(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      await delay(this.#dice.between(100, 900));
      const slot = this.#dice.pick(this.#world.slots);
      await this.#harm(slot, this.#dice.pick(slot.network.proxies));
    }
  }

  async #harm(slot: Slot, proxy: Proxy): Promise<void> {
    const { name } = slot;
    const kind = this.#dice.next();
    const milliseconds = this.#dice.between(100, 9_000);
    if (kind < 0.2) {
      // One that is not up yet has nothing to lose.
      if (slot.ready) await this.do(`${name} killed`, () => this.#kill(slot));
    } else if (kind < 0.4) {
      await this.do(`${name} paused for ${milliseconds} ms`, () => slot.process?.pause(milliseconds));
    } else if (kind < 0.8) {
      const what = this.#dice.pick(['requests', 'answers'] as const);
      const bytes = this.#dice.between(0, this.#dice.pick(MOST_BYTES));
      await this.do(`${what} of ${name} cut after ${bytes} bytes`, () =>
        cutAfter(proxy, what, bytes, () => void this.cuts++),
      );
    } else if (kind < 0.88) {
      await this.do(`${name} cut off`, () => proxy.cut());
    } else {
      const what = this.#dice.pick(['requests', 'answers'] as const);
      await this.do(`${what} of ${name} swallowed for ${milliseconds} ms`, () => {
        proxy.swallow = what;
        setTimeout(() => rejoin(proxy), milliseconds).unref();
      });
    }
  }

  async #kill(slot: Slot): Promise<void> {
    slot.ready = false;
    await slot.process?.kill();
  }
}

/** What was swallowed is not sent again here, so that what hangs on it ends. */
function rejoin(proxy: Proxy): void {
  proxy.swallow = 'nothing';
  proxy.cut();
}

/** The connection through which the byte after these would go ends before it: in the middle of a packet, as it comes. */
function cutAfter(proxy: Proxy, what: 'requests' | 'answers', bytes: number, cut: () => void): void {
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
