import { rate } from '../report/cells';
import { chart, line, rectangle, text } from '../report/shapes';
import { type Assumptions } from './assumptions';
import { type Capacity, capacityOf, DATABASES } from './capacity';
import { OPERATIONS } from './operations';
import { conditionsOf } from './report';
import { type Costs, type ScaleResults, sizeOf } from './results';

const [WIDTH, LEFT, BAR, LINE] = [1080, 150, 12, 17];
/** Of one of the three panels side by side. */
const PANEL = (WIDTH - LEFT - 16) / 3;

const QUANTITIES: readonly [title: string, of: (costs: Costs, operation: keyof Costs) => number][] = [
  ['CPU of the server, µs', (costs, operation) => costs[operation].serverMicros],
  ['WAL, bytes', (costs, operation) => costs[operation].walBytes],
  ['heap and indexes, bytes', (costs, operation) => sizeOf(costs[operation])],
];

/** What an operation costs on one database and on four, and below what so many databases carry. */
export function asSvg(results: ScaleResults, assumed: Assumptions): string {
  const parts: string[] = [];
  let y = 24;
  parts.push(text(16, y, 'What an operation costs', 'title'));
  parts.push(rectangle('other', 360, y - 11, 22, BAR), text(388, y, 'on one database'));
  parts.push(rectangle('ours', 520, y - 11, 22, BAR), text(548, y, 'on each of four'));
  y += 24;
  QUANTITIES.forEach(([title], panel) => parts.push(text(LEFT + panel * PANEL, y, title, 'small')));
  y += 8;
  for (const operation of OPERATIONS) {
    parts.push(text(16, y + 18, operation));
    QUANTITIES.forEach(([, of], panel) => {
      const { one, four } = results.costs;
      const largest = Math.max(...OPERATIONS.flatMap((each) => [of(one, each), of(four, each)]));
      [of(one, operation), of(four, operation)].forEach((value, row) => {
        const [x, width] = [LEFT + panel * PANEL, (value / largest) * (PANEL - 70)];
        parts.push(rectangle(row === 0 ? 'other' : 'ours', x, y + row * LINE, width, BAR));
        parts.push(text(x + width + 6, y + row * LINE + 10, value < 10 ? value.toFixed(1) : rate(value), 'small'));
      });
    });
    y += 2 * LINE + 10;
  }
  const capacities = DATABASES.map((count) => capacityOf(count, results.costs.four, assumed));
  const curves: readonly [string, (capacity: Capacity) => number][] = [
    ['requests a second at peak', ({ perSecond }) => perSecond],
    ['TB a year', ({ terabytesAYear }) => terabytesAYear],
    ['connections of a database, each process to all', ({ connections }) => connections],
  ];
  parts.push(
    text(16, (y += 26), 'What so many databases carry, as computed from these costs and what is assumed', 'title'),
  );
  parts.push(text(LEFT - 100, (y += 24), 'databases', 'small'));
  curves.forEach(([title], panel) => parts.push(text(LEFT + panel * PANEL, y, `${title}, log scale`, 'small')));
  const top = y + 8;
  capacities.forEach((capacity, row) => {
    y = top + row * (LINE + 4);
    parts.push(text(LEFT - 10, y + 10, String(capacity.databases), '', 'end'));
    curves.forEach(([, of], panel) => {
      const [x, width] = [LEFT + panel * PANEL, scaled(of, capacities)(of(capacity))];
      parts.push(rectangle('ours', x, y, width, BAR));
      parts.push(text(x + width + 6, y + 10, rate(of(capacity)), 'small'));
    });
  });
  y += LINE;
  const limit = LEFT + 2 * PANEL + scaled(curves[2]![1], capacities)(assumed.connections);
  parts.push(line('spread', limit, top - 4, limit, y));
  parts.push(text(limit, (y += 14), `a server takes ${assumed.connections}`, 'small', 'middle'));
  y += 8;
  for (const each of conditionsOf(results)) parts.push(text(16, (y += 18), each, 'small'));
  return chart(
    WIDTH,
    y + 18,
    'Costs of operations on one database and on four, and what up to 1,024 databases carry',
    parts,
  );
}

/** Half a decade below the least to the most. */
function scaled(of: (capacity: Capacity) => number, capacities: readonly Capacity[]): (value: number) => number {
  const [least, most] = [Math.log10(of(capacities[0]!)) - 0.5, Math.log10(of(capacities.at(-1)!))];
  return (value) => Math.max(0, (Math.log10(value) - least) / (most - least)) * (PANEL - 80);
}
