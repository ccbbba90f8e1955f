import { spread } from '../measure/statistics';
import { ScaleDatabase } from './databases';
import { type OperationName, OPERATIONS, Operations } from './operations';
import { type ArmName, ARMS, type Cost, type ScaleResults } from './results';

export interface ScaleRounds {
  readonly rounds: number;
  /** Of each database in each round. */
  readonly requests: number;
  /** Of each database, at once. */
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
 * Six servers: one with all restaurants, four with a quarter each, one without a fence; each is given as many requests as the others,
 * from as many callers. They take turns, so that each has the machine to itself, as it would have its own: what a process costs
 * grows with those that want its core and its caches, and on one machine that would be measured in place of four. The order
 * is another one each round; a first round is thrown away.
 */
export async function measureScale(settings: ScaleRounds): Promise<{ postgres: string; costs: ScaleResults['costs'] }> {
  const { rounds, requests, callers, notice } = settings;
  const databases: ScaleDatabase[] = [];
  const arm = async (fences: readonly Parameters<typeof ScaleDatabase.start>[0][]): Promise<Arm> => {
    for (const fence of fences) databases.push(await ScaleDatabase.start(fence, callers, notice));
    return databases
      .slice(-fences.length)
      .map((database) => ({ database, operations: new Operations(database, callers) }));
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
  const turns = ARMS.flatMap((name) => arms[name].map((member) => ({ name, member })));
  for (const operation of OPERATIONS) {
    for (let turn = 0; turn < turns.length; turn++) {
      const { name, member } = turns[(round + turn) % turns.length]!;
      const measured = await measureTurn(member, operation, requests);
      const before = used[name][operation] as Used | undefined;
      used[name][operation] = before ? together(before, measured) : measured;
    }
  }
  return used;
}

async function measureTurn(
  { database, operations }: Arm[number],
  operation: OperationName,
  requests: number,
): Promise<Used> {
  await operations.prepare(operation, requests);
  const before = await database.read();
  const cpu = process.cpuUsage();
  const count = await operations.run(operation, requests);
  const { user, system } = process.cpuUsage(cpu);
  const after = await database.read();
  return {
    operations: count,
    serverMicros: after.serverMicros - before.serverMicros,
    clientMicros: user + system,
    walBytes: after.walBytes - before.walBytes,
    bytes: byName(Object.keys(after.bytes), (table) => after.bytes[table]! - before.bytes[table]!),
  };
}

const together = (one: Used, other: Used): Used => ({
  operations: one.operations + other.operations,
  serverMicros: one.serverMicros + other.serverMicros,
  clientMicros: one.clientMicros + other.clientMicros,
  walBytes: one.walBytes + other.walBytes,
  bytes: byName(Object.keys(one.bytes), (table) => one.bytes[table]! + other.bytes[table]!),
});

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
