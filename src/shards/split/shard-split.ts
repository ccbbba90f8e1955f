import { randomBytes } from 'node:crypto';
import { DataSource } from 'typeorm';
import { isClass, isSameClass, LARGEST_MODULUS, type ResidueClass } from '../../fence/residue';
import { isNumber, LARGEST_NUMBER } from '../../fence/sequence-range';
import { ConfigurationError } from '../../errors';
import { type Say, toLogger } from '../../migrator/migration-lock';
import { type ShardMap } from '../shard-map';
import { cleanUp, isLeft } from './clean-up';
import { connectionFrom } from './connection';
import { cutOver } from './cut-over';
import { prepare } from './prepare';
import { publish } from './publish';
import { type SplitEnds, SplitSession, type SplitStatement } from './split-session';
import { readStanding, type Standing } from './standing';
import { subscribe } from './subscribe';
import { takeClone } from './take-clone';
import { undo } from './undo';

/** Which database is split, and into which other one. */
export interface ShardSplitSettings {
  /** Of the database that is split: the owner of its tables, on a direct connection. Open, with a pool of 2 or more. */
  readonly source: DataSource;
  /** Of the database that gets the other half: empty, and with the same migrations. Open, with a pool of 2 or more. */
  readonly target: DataSource;
  /** The class that the source had before the split. The half with the larger remainder moves: see `halvesOf`. */
  readonly shard: ResidueClass;
  /** Of the target in the map: 0 to 8,191, greater than the source's, and no database ever had it. */
  readonly number: number;
  /**
   * How the target's server reaches the source, as libpq takes it, of a login with REPLICATION that may read the tables. Default:
   * what the options of `source` say. Not for logs.
   */
  readonly connection?: string;
  /** Is told what takes long. Default: the logger of `source`. */
  readonly say?: Say;
}

/** The steps, in their order. `switch` is the owner's: the services get a map with the target in it. */
export const SPLIT_STEPS = ['prepare', 'publish', 'subscribe', 'cut-over', 'switch', 'clean-up'] as const;

/** One of the steps of a split. */
export type SplitStep = (typeof SPLIT_STEPS)[number];

/** How far a split is. */
export interface SplitStatus {
  readonly stays: ResidueClass;
  readonly moves: ResidueClass;
  readonly done: readonly SplitStep[];
  /** What comes next; undefined where all is done. */
  readonly next: SplitStep | undefined;
  /** Tables that follow the source, of all. */
  readonly copied: { readonly ready: number; readonly of: number };
  /** How much WAL the target has not confirmed; null without a slot. */
  readonly lagBytes: number | null;
  /** Why it cannot go on, and what is to be done. */
  readonly broken: string | undefined;
}

/** How a step is called. */
export interface SplitStepOptions {
  /** Changes nothing, and gives what would be run. Default false. */
  readonly dryRun?: boolean;
}

/**
 * Moves half of the restaurants of a database to another one while services write, by PostgreSQL's logical replication.
 *
 * Each step may be called again, also after the process was killed in it: how far the split is, the catalogs of both databases
 * say. From {@link cutOver} until the services have the new map, writes of what moves fail with a `WrongShardError`.
 *
 * ```ts
 * const split = new ShardSplit({ source, target, shard: { modulus: 1, remainder: 0 }, number: 1 });
 * await split.run();                  // prepare, publish, subscribe, cutOver
 * await directory.publish(newMap);    // yours: the source has class 0 of 2 by now, the target 1 of 2
 * await split.cleanUp(newMap);
 * ```
 *
 * Every method throws SplitRefusedError where something is missing, with what to do; MigrationInProgressError where another
 * process splits or migrates one of the databases, and does not end within `migrationWaitMs`; DatabaseTimeoutError where a table
 * could not be locked; PendingMigrationsError.
 */
export class ShardSplit {
  readonly #ends: SplitEnds;

  /** @throws ConfigurationError the class cannot be split, there is no such number, or no database */
  constructor({ source, target, shard, number, connection, say }: ShardSplitSettings) {
    if (!(source instanceof DataSource && target instanceof DataSource)) {
      throw new ConfigurationError('ShardSplit: source and target must be DataSources.');
    }
    if (!shard || !isClass(shard) || shard.modulus >= LARGEST_MODULUS) {
      throw new ConfigurationError(
        `ShardSplit: shard must be a class with a modulus that is a power of two below ${LARGEST_MODULUS}.`,
      );
    }
    if (!isNumber(number)) {
      throw new ConfigurationError(`ShardSplit: number must be an integer from 0 to ${LARGEST_NUMBER}.`);
    }
    this.#ends = {
      source,
      target,
      number,
      id: randomBytes(8).toString('hex'),
      whole: { modulus: shard.modulus, remainder: shard.remainder },
      // Asked for once the target is open, whose version counts.
      get connection() {
        return connection ?? connectionFrom(target, source);
      },
      say: say ?? toLogger(source),
    };
  }

  /**
   * How far it is, also while a step is at work.
   *
   * @param map the one that the services have: without it the switch does not count as done
   */
  async status(map?: ShardMap): Promise<SplitStatus> {
    return await SplitSession.look(this.#ends, async (session) => await statusOf(session, map));
  }

  /** Makes the empty target ready for the copy. */
  async prepare(options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step(prepare, options);
  }

  /** Publishes what moves, at the source. */
  async publish(options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step(publish, options);
  }

  /** Has the target copy what moves, and waits until it follows the source: hours, where there is much. */
  async subscribe(options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step(subscribe, options);
  }

  /**
   * Hands over: from here on the source refuses what moves, and the target takes it once the services have the new map. Who holds a
   * lease at the source learns by its next renewal, with a LockLostError; the lease itself is at the target.
   *
   * A message without an event (`Outbox.enqueue`, the sweeper's), written at the source in the same instant, goes out from where it
   * ended up; one that a relay of the source has claimed just then goes out from both.
   */
  async cutOver(options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step(cutOver, options);
  }

  /** The four steps above, one after the other, whatever of them is done already. */
  async run(): Promise<void> {
    await this.prepare();
    await this.publish();
    await this.subscribe();
    await this.cutOver();
  }

  /**
   * In the place of the four steps above, where the target is a clone: a physical standby of the source's server that was promoted
   * after the source had got the fence of what stays, and had replayed that. No relay runs at either. It takes what moves, and each
   * of the two gives up the messages and leases of the other half.
   */
  async takeClone(options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step(takeClone, options);
  }

  /**
   * Deletes at the source what the target has, and at a clone what the source has. Events stay: an event is never deleted.
   *
   * @param map the one that the services have, in which both halves stand
   */
  async cleanUp(map: ShardMap, options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step(async (session, standing) => void (await cleanUp(session, standing, map)), options);
  }

  /**
   * Gives the source everything back, as long as the target has taken no writes of its own and no clean-up was begun, and closes the
   * target: make a new one for the next try. Leases that were handed over are gone: workers take new ones. Only while no service
   * has the new map.
   *
   * @param map the one that the services have, without the target
   */
  async undo(map: ShardMap, options?: SplitStepOptions): Promise<SplitStatement[]> {
    return await this.#step((session, standing) => undo(session, standing, map), options);
  }

  async #step(
    step: (session: SplitSession, standing: Standing) => Promise<void>,
    { dryRun = false }: SplitStepOptions = {},
  ): Promise<SplitStatement[]> {
    return await SplitSession.open(this.#ends, dryRun, async (session) => {
      await step(session, await readStanding(session));
      return session.statements;
    });
  }
}

async function statusOf(session: SplitSession, map: ShardMap | undefined): Promise<SplitStatus> {
  const { source, target, isHandedOver, broken } = await readStanding(session);
  const { ready, of } = target;
  const isOver = isHandedOver && !source.mark && !source.hasSlot;
  const { moves } = session;
  const isSwitched = isOver && (map?.shards ?? []).some((shard) => isSameClass(shard, moves));
  const isDone: Readonly<Record<SplitStep, boolean>> = {
    prepare: isHandedOver || target.mark !== undefined,
    publish: isHandedOver || source.mark !== undefined,
    subscribe: isHandedOver || (target.hasSubscription && ready === of),
    'cut-over': isOver,
    switch: isSwitched,
    'clean-up': isSwitched && !(await isLeft(session)),
  };
  return {
    stays: session.stays,
    moves,
    done: SPLIT_STEPS.filter((step) => isDone[step]),
    next: SPLIT_STEPS.find((step) => !isDone[step]),
    copied: isHandedOver ? { ready: of, of } : { ready, of },
    lagBytes: source.lagBytes,
    broken,
  };
}
