import { spread } from '../measure/statistics';
import { type Reading, ScaleDatabase } from './databases';
import { type OperationName, OPERATIONS, Operations } from './operations';
import { type ArmName, ARMS, type Cost, type ScaleResults } from './results';

export interface ScaleRounds {
  readonly rounds: number;
  /** Of each database in each round. */
  readonly requests: number;
  /** At once: all of one database, or shared by four. */
  readonly callers: number;
  readonly notice: (text: string) => void;
}

type Arm = readonly { readonly database: ScaleDatabase; readonly operations: Operations }[];

interface Used {
  readonly operations: number;
  readonly serverMicros: number;
  readonly clientMicros: number;
  readonly walBytes: number;
  readonly bytes: Readonly<Record<string, number>>;
}

/**
 * Six servers: one with all restaurants, four with a quarter each, one without a fence. Each database is given as many requests
 * as the others. Four share the callers that one has, so that the machine is as busy either way: what a process costs grows with the
 * number of those that want its core. Within an operation they take turns, in another order each round; a first round is thrown
 * away.
 */
export async function measureScale(settings: ScaleRounds): Promise<{ postgres: string; costs: ScaleResults['costs'] }> {
  const { rounds, requests, callers, notice } = settings;
  const databases: ScaleDatabase[] = [];
  const arm = async (fences: readonly Parameters<typeof ScaleDatabase.start>[0][]): Promise<Arm> => {
    const ofEach = callers / fences.length;
    for (const fence of fences) databases.push(await ScaleDatabase.start(fence, ofEach, notice));
    return databases
      .slice(-fences.length)
      .map((database) => ({ database, operations: new Operations(database, ofEach) }));
  };
  try {
    const arms: Record<ArmName, Arm> = {
      one: await arm([{ modulus: 1, remainder: 0 }]),
      four: await arm([0, 1, 2, 3].map((remainder) => ({ modulus: 4, remainder }))),
      unfenced: await arm([undefined]),
    };
    notice('warming up');
    await measureRound(arms, requests, 0);
    await Promise.all(databases.map((database) => database.vacuum()));
    const used: Awaited<ReturnType<typeof measureRound>>[] = [];
    for (let round = 0; round < rounds; round++) {
      used.push(await measureRound(arms, requests, round));
      const cpu = (name: ArmName) =>
        OPERATIONS.map((operation) => {
          const { serverMicros, operations } = used.at(-1)![name][operation];
          return `${operation} ${(serverMicros / operations).toFixed(0)}`;
        }).join(', ');
      notice(`round ${round + 1} of ${rounds}, CPU in µs: ${ARMS.map((name) => `${name} (${cpu(name)})`).join(', ')}`);
    }
    const costs = byName(ARMS, (name) =>
      byName(OPERATIONS, (operation) => toCost(used.map((round) => round[name][operation]))),
    );
    for (const name of ARMS)
      costs[name].relay = { ...costs[name].relay, bytes: { outbox: await bytesOfMessage(arms[name]) } };
    return { postgres: await databases[0]!.version, costs };
  } finally {
    for (const database of databases) await database.close();
  }
}

async function measureRound(arms: Record<ArmName, Arm>, requests: number, round: number) {
  const used = byName(ARMS, () => ({}) as Record<OperationName, Used>);
  for (const operation of OPERATIONS) {
    for (let turn = 0; turn < ARMS.length; turn++) {
      const name = ARMS[(round + turn) % ARMS.length]!;
      used[name][operation] = await measureTurn(arms[name], operation, requests);
    }
  }
  return used;
}

async function measureTurn(arm: Arm, operation: OperationName, requests: number): Promise<Used> {
  await Promise.all(arm.map(({ operations }) => operations.prepare(operation, requests)));
  const before = await Promise.all(arm.map(({ database }) => database.read()));
  const cpu = process.cpuUsage();
  const counts = await Promise.all(arm.map(({ operations }) => operations.run(operation, requests)));
  const { user, system } = process.cpuUsage(cpu);
  const after = await Promise.all(arm.map(({ database }) => database.read()));
  const more = (of: (reading: Reading) => number) =>
    after.reduce((sum, reading, index) => sum + of(reading) - of(before[index]!), 0);
  return {
    operations: counts.reduce((sum, count) => sum + count),
    serverMicros: more((reading) => reading.serverMicros),
    clientMicros: user + system,
    walBytes: more((reading) => reading.walBytes),
    bytes: byName(Object.keys(after[0]!.bytes), (table) => more(({ bytes }) => bytes[table]!)),
  };
}

async function bytesOfMessage(arm: Arm): Promise<number> {
  const each = await Promise.all(arm.map(({ database }) => database.bytesOfMessage()));
  return each.reduce((sum, bytes) => sum + bytes, 0) / each.length;
}

function toCost(rounds: readonly Used[]): Cost {
  const all = (of: (used: Used) => number) => rounds.reduce((sum, used) => sum + of(used), 0);
  const operations = all((used) => used.operations);
  const each = (of: (used: Used) => number) => rounds.map((used) => of(used) / used.operations);
  const grown = Object.keys(rounds[0]!.bytes)
    .sort()
    .filter((table) => all(({ bytes }) => bytes[table]!) > 0);
  return {
    serverMicros: spread(each((used) => used.serverMicros)).median,
    clientMicros: spread(each((used) => used.clientMicros)).median,
    walBytes: all((used) => used.walBytes) / operations,
    bytes: byName(grown, (table) => all(({ bytes }) => bytes[table]!) / operations),
    rounds: each((used) => used.serverMicros),
  };
}

const byName = <Name extends string, Value>(names: readonly Name[], of: (name: Name) => Value) =>
  Object.fromEntries(names.map((name) => [name, of(name)])) as Record<Name, Value>;
