import { type ComparisonResult, type Results, type Row } from '../results';
import { conditionsOf, rate } from './cells';
import { chart, line, rectangle, text } from './shapes';

const [WIDTH, LEFT, RIGHT, LINE, BAR] = [1080, 560, 190, 24, 15];

/**
 * To be read without the tables: horizontal bars of the medians, with a line from the lowest to the highest round on each,
 * and the rate and the p99 at its end. Each comparison has its own scale, from 0.
 */
export function asSvg({ comparisons, conditions, startedAt }: Results): string {
  let y = 6;
  const parts: string[] = [];
  parts.push(...legend((y += LINE)));
  for (const comparison of comparisons) {
    parts.push(text(16, (y += LINE + 8), comparison.title, 'title'));
    parts.push(
      text(
        LEFT,
        (y += 18),
        `${comparison.unit} a second, and the time within which 99 of 100 calls are answered`,
        'small',
      ),
    );
    y += 8;
    const largest = Math.max(...comparison.rows.map(({ perSecond }) => perSecond.max));
    comparison.rows.forEach((row, index) => {
      parts.push(...barOf(row, comparison.rows[index - 1], y, (WIDTH - LEFT - RIGHT) / largest));
      y += LINE;
    });
  }
  y += 8;
  for (const each of conditionsOf(conditions, startedAt)) parts.push(text(16, (y += 18), each, 'small'));
  return chart(WIDTH, y + 18, labelOf(comparisons), parts);
}

function legend(y: number): string[] {
  const key = (x: number, kind: string, label: string) => [rectangle(kind, x, y - 11, 22, BAR), text(x + 28, y, label)];
  return [
    ...key(16, 'ours', 'this package'),
    ...key(150, 'other', 'what else one would use, or a limit'),
    line('spread', 420, y - 4, 442, y - 4),
    text(448, y, 'lowest to highest round; a bar ends at the median'),
  ];
}

/** One contestant under several loads is named once. */
function barOf(row: Row, above: Row | undefined, y: number, scale: number): string[] {
  const { title, under, isOurs, perSecond, p99 } = row;
  const x = (value: number) => LEFT + value * scale;
  const latency = p99 ? `, p99 ${p99.median.toFixed(p99.median < 10 ? 1 : 0)} ms` : '';
  return [
    ...(above?.title === title ? [] : [text(16, y + 12, title)]),
    text(LEFT - 10, y + 12, under, 'small', 'end'),
    rectangle(isOurs ? 'ours' : 'other', LEFT, y, perSecond.median * scale, BAR),
    line('spread', x(perSecond.min), y + BAR / 2, x(perSecond.max), y + BAR / 2),
    text(x(perSecond.max) + 8, y + 12, `${rate(perSecond.median)} a second${latency}`, 'small'),
  ];
}

const labelOf = (comparisons: readonly ComparisonResult[]) =>
  `Throughput and latency: ${comparisons.map(({ title }) => title).join('; ')}`;
