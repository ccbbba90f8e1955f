import { type Cells, rate } from '../report/cells';
import { type Assumptions, ASSUMPTIONS } from './assumptions';
import { type Capacity, capacityOf, costOfRequest, DATABASES } from './capacity';
import { OPERATIONS, TITLES } from './operations';
import { agreements, QUANTITIES, type ScaleResults, sizeOf, TOLERANCE } from './results';

const whole = (value: number) => (value < 10 ? Number(value.toPrecision(2)) : Math.round(value)).toLocaleString('en');
const three = (value: number) => Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 2 });
const percent = (part: number) => `${Number((part * 100).toPrecision(2))} %`;

/** When, where and with what. */
export function conditionsOf({ conditions, startedAt }: ScaleResults): string[] {
  const { postgres, node, pg, typeorm, platform, cpu, cores, serverSettings, rounds, requests, callers } = conditions;
  const settings = Object.entries(serverSettings).map(([name, value]) => `${name} = ${value}`);
  return [
    `${startedAt.slice(0, 10)}: PostgreSQL ${postgres}, Node ${node}, pg ${pg}, TypeORM ${typeorm}, ${platform}, ${cores} × ${cpu}.`,
    `fsync on; ${settings.join(', ')}. All servers and one Node process on this machine.`,
    `${rounds} rounds of ${requests.toLocaleString('en')} requests of each database, ${callers} callers of each, one database after the other in turns.`,
  ];
}

/** What each operation costs on one database and on each of four. */
export function costTable({ costs: { one, four } }: ScaleResults): Cells {
  const pair = (of: (costs: typeof one) => number) => [whole(of(one)), whole(of(four))];
  return [
    [
      '',
      'CPU of server, µs: one',
      'four',
      'WAL, bytes: one',
      'four',
      'heap and indexes, bytes: one',
      'four',
      'CPU of Node, µs: one',
    ],
    ...OPERATIONS.map((operation) => [
      TITLES[operation],
      ...pair((costs) => costs[operation].serverMicros),
      ...pair((costs) => costs[operation].walBytes),
      ...pair((costs) => sizeOf(costs[operation])),
      whole(one[operation].clientMicros),
    ]),
  ];
}

/** Where the bytes go. */
export function sizeTable({ costs: { one } }: ScaleResults): Cells {
  const tables = [...new Set(OPERATIONS.flatMap((operation) => Object.keys(one[operation].bytes)))].sort();
  return [
    ['', ...OPERATIONS],
    ...tables.map((table) => [
      `\`${table}\``,
      ...OPERATIONS.map((operation) => whole(one[operation].bytes[table] ?? 0)),
    ]),
  ];
}

export function agreementTable(results: ScaleResults): Cells {
  return [
    ['', '', 'four by one', 'lowest to highest round', ''],
    ...agreements(results).map(({ operation, quantity, ratio, agrees }) => [
      operation,
      quantity === 'fence' ? 'CPU of the server with a fence by without' : QUANTITIES[quantity],
      ratio.median.toFixed(2),
      quantity === 'walBytes' || quantity === 'bytes' ? '–' : `${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}`,
      agrees ? 'within a tenth' : `FAIL: not within ${percent(TOLERANCE)}`,
    ]),
  ];
}

export function assumptionTable(assumed: Assumptions): Cells {
  return [
    ['', 'value', ''],
    ...Object.entries(ASSUMPTIONS).map(([name, { means }]) => [
      `\`${name}\``,
      assumed[name as keyof Assumptions].toLocaleString('en'),
      means,
    ]),
  ];
}

export function requestTable({ costs }: ScaleResults, assumed: Assumptions): Cells {
  const each = costOfRequest(costs.four, assumed);
  return [
    ['one request, through its whole life', ' '],
    ['CPU of the server', `${whole(each.serverMicros)} µs`],
    ['CPU of Node', `${whole(each.clientMicros)} µs`],
    ['WAL, page images included', `${whole(each.walBytes / 1_000)} kB`],
    ['stays for good', `${whole(each.keptBytes)} bytes`],
    ['its key, until purged', `${whole(each.keyBytes)} bytes`],
    ['its messages, until purged', `${whole(each.messageBytes)} bytes`],
  ];
}

const LOAD: readonly [head: string, of: (capacity: Capacity) => string][] = [
  ['databases', ({ databases }) => databases.toLocaleString('en')],
  ['requests a second at peak', ({ perSecond, limit }) => `${rate(perSecond)} (${limit})`],
  ['processes of Node', ({ processes }) => three(processes)],
  ['connections of a database, each process to all', ({ connections }) => three(connections)],
  ['databases that a process may talk to', ({ databasesOfProcess }) => databasesOfProcess.toLocaleString('en')],
  ['TB a year', ({ terabytesAYear }) => three(terabytesAYear)],
  ['TB of keys and messages', ({ passingTerabytes }) => three(passingTerabytes)],
];

const FAILURE: typeof LOAD = [
  ['databases', ({ databases }) => databases.toLocaleString('en')],
  ['one failure stops', ({ stopped }) => `${percent(stopped)} of the restaurants`],
  ['failures a year', ({ failuresAYear }) => three(failuresAYear)],
  ['a restaurant is stopped, seconds a year', ({ secondsStoppedAYear }) => three(secondsStoppedAYear)],
  ['months until a database is full', ({ monthsUntilFull }) => three(monthsUntilFull)],
  ['hours to split a full one', ({ splitHours }) => three(splitHours)],
];

const capacityTable =
  (columns: typeof LOAD) =>
  ({ costs }: ScaleResults, assumed: Assumptions): Cells => [
    columns.map(([head]) => head),
    ...DATABASES.map((count) => {
      const capacity = capacityOf(count, costs.four, assumed);
      return columns.map(([, of]) => of(capacity));
    }),
  ];

export const loadTable = capacityTable(LOAD);
export const failureTable = capacityTable(FAILURE);

/** Each part of the report with its heading. */
export const sectionsOf = (
  results: ScaleResults,
  assumed: Assumptions,
): readonly (readonly [title: string, cells: Cells])[] => [
  ['What an operation costs, on one database and on each of four', costTable(results)],
  ['Whether they agree', agreementTable(results)],
  ['Where the bytes go: of each operation, by table', sizeTable(results)],
  ['What is assumed', assumptionTable(assumed)],
  ['What a request needs', requestTable(results, assumed)],
  ['What so many databases carry', loadTable(results, assumed)],
  ['What a failure stops, and how long a split takes', failureTable(results, assumed)],
];
