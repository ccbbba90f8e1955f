import { type Assumptions } from './assumptions';
import { type Cost, type Costs, sizeOf } from './results';

/** What one request needs through its whole life. */
export interface RequestCost {
  readonly serverMicros: number;
  readonly clientMicros: number;
  /** Page images included. */
  readonly walBytes: number;
  /** That stay for good. */
  readonly keptBytes: number;
  /** Of its idempotency keys. */
  readonly keyBytes: number;
  /** Of its messages. */
  readonly messageBytes: number;
}

/** What so many databases carry. */
export interface Capacity {
  readonly databases: number;
  /** Requests accepted and worked off a second, at peak. */
  readonly perSecond: number;
  readonly limit: 'CPU' | 'WAL';
  /** Processes of Node: API, workers and relays together. */
  readonly processes: number;
  /** Of each database, where every process talks to every database. */
  readonly connections: number;
  /** To how many databases a process may talk, so that none is given more connections than it takes. */
  readonly databasesOfProcess: number;
  /** Of all databases, in TB: what a year adds for good. */
  readonly terabytesAYear: number;
  /** Of all databases, in TB: keys and messages that are not yet purged. */
  readonly passingTerabytes: number;
  /** Until a database is full. */
  readonly monthsUntilFull: number;
  /** To move half of a database that is full. */
  readonly splitHours: number;
  /** Part of the restaurants that the failure of one server stops. */
  readonly stopped: number;
  /** Of all servers. */
  readonly failuresAYear: number;
  /** That a restaurant is stopped in a year: the same for any number. */
  readonly secondsStoppedAYear: number;
}

export const DATABASES = Array.from({ length: 11 }, (_, power) => 2 ** power);

const [SECONDS_A_YEAR, SECONDS_A_DAY, MEGA, TERA] = [365.25 * 86_400, 86_400, 1e6, 1e12];
/** Purged when they are old. A lease is deleted when it is given back. */
const PURGED = { keys: 'auth_idempotency_keys', messages: 'outbox', leases: 'auth_processing_locks' } as const;

/** The operations of a request, each as often as it is assumed to take place. */
export function costOfRequest(costs: Costs, assumed: Assumptions): RequestCost {
  const times: Readonly<Record<keyof Costs, number>> = {
    authorize: 1,
    cycle: assumed.cycles,
    relay: assumed.cycles + assumed.voids,
    get: assumed.looks,
    void: assumed.voids,
  };
  const sum = (of: (cost: Cost) => number) =>
    Object.entries(times).reduce((total, [name, count]) => total + count * of(costs[name as keyof Costs]), 0);
  const [keyBytes, messageBytes, leaseBytes] = [PURGED.keys, PURGED.messages, PURGED.leases].map((table) =>
    sum(({ bytes }) => bytes[table] ?? 0),
  ) as [number, number, number];
  return {
    serverMicros: sum((cost) => cost.serverMicros) / assumed.speed,
    clientMicros: sum((cost) => cost.clientMicros) / assumed.speed,
    walBytes: sum((cost) => cost.walBytes) + assumed.imagesPerRequest * assumed.imageBytes,
    keptBytes: sum(sizeOf) - keyBytes - messageBytes - leaseBytes,
    keyBytes,
    messageBytes,
  };
}

/** Nothing crosses databases, so that all but the connections is the number of databases times what one carries. */
export function capacityOf(databases: number, costs: Costs, assumed: Assumptions): Capacity {
  const each = costOfRequest(costs, assumed);
  const byCpu = (assumed.cores * assumed.busy * 1e6) / each.serverMicros;
  const byWal = (assumed.walMBs * MEGA) / each.walBytes;
  const ofOne = Math.min(byCpu, byWal);
  const perSecond = databases * ofOne;
  const processes = Math.ceil((perSecond * each.clientMicros) / 1e6 / assumed.busyNode);
  const meanOfOne = ofOne / assumed.peakToMean;
  const keptAYear = (meanOfOne * each.keptBytes * SECONDS_A_YEAR) / TERA;
  const passing =
    (meanOfOne *
      (each.keyBytes * assumed.keysHours * 3_600 + each.messageBytes * assumed.messagesDays * SECONDS_A_DAY)) /
    TERA;
  const full = assumed.storageTB * assumed.fullAt;
  return {
    databases,
    perSecond,
    limit: byCpu <= byWal ? 'CPU' : 'WAL',
    processes,
    connections: processes * assumed.pool,
    // Each database is then shared by so many of the processes as have their connections on it.
    databasesOfProcess: Math.min(databases, Math.floor((databases * assumed.connections) / (processes * assumed.pool))),
    terabytesAYear: databases * keptAYear,
    passingTerabytes: databases * passing,
    monthsUntilFull: (Math.max(0, full - passing) / keptAYear) * 12,
    splitHours: (full * TERA) / 2 / (assumed.copyMBs * MEGA) / 3_600,
    stopped: 1 / databases,
    failuresAYear: databases * assumed.failures,
    secondsStoppedAYear: assumed.failures * assumed.failoverSeconds,
  };
}
