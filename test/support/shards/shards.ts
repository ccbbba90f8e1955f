import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseUnavailableError } from '../../../src/errors';
import { owns, type ResidueClass } from '../../../src/fence/residue';
import { setFence } from '../../../src/fence/set-fence';
import { type ShardEntry, type ShardMap, type ShardMapSource } from '../../../src/shards/shard-map';
import { type DatabaseOfFile } from '../database/use-test-database';

export const WHOLE: ResidueClass = { modulus: 1, remainder: 0 };
export const EVEN: ResidueClass = { modulus: 2, remainder: 0 };
export const ODD: ResidueClass = { modulus: 2, remainder: 1 };

/** A source whose map a test replaces, and which counts how often it was asked. */
export class ReplaceableSource implements ShardMapSource {
  loads = 0;

  constructor(public map: ShardMap) {}

  load(): Promise<ShardMap> {
    this.loads += 1;
    // Read when it answers, as a file would be.
    return new Promise((resolve) => setImmediate(() => resolve(this.map)));
  }
}

/** A map of databases by their names; the numbers are their places. */
export const mapOf = (version: number, shards: Record<string, ResidueClass & { readonly url: string }>): ShardMap => ({
  version,
  shards: Object.entries(shards).map(([name, { modulus, remainder, url }], number): ShardEntry => ({
    ...{ name, modulus, remainder, number, url },
  })),
});

/** Any restaurant of a class. */
export function aRestaurantOf(shard: ResidueClass): string {
  for (;;) {
    const id = randomUUID();
    if (owns(shard, id)) return id;
  }
}

export const fence = async (database: DatabaseOfFile, shard: ResidueClass, widen = false): Promise<unknown> =>
  setFence(await database.dataSource(), shard, { widen });

/** Does it again while the database is away, as a service does; after a minute that is the failure. */
export async function untilAvailable<T>(work: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + 60_000; ; await delay(100)) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError) || Date.now() > deadline) throw error;
    }
  }
}

/** Deletes every request with all that belongs to it, also the events, which nothing else may. */
export const empty = (database: DatabaseOfFile): Promise<unknown> =>
  database.query(
    `BEGIN;
     ALTER TABLE payment_events DISABLE TRIGGER payment_events_append_only;
     DELETE FROM auth_holds; DELETE FROM auth_request_state; DELETE FROM payment_events;
     DELETE FROM auth_idempotency_keys; DELETE FROM auth_processing_locks; DELETE FROM outbox;
     ALTER TABLE payment_events ENABLE ALWAYS TRIGGER payment_events_append_only;
     COMMIT`,
  );
