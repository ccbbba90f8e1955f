import { type ComparisonResult, type Results, type Row } from '../results';
import { conditionsOf, rate } from './cells';

const [WIDTH, LEFT, RIGHT, LINE, BAR] = [960, 390, 110, 26, 16];

/** Horizontal bars of the medians, a line from the lowest to the highest sample on each. Each comparison has its own scale. */
export function asSvg({ comparisons, conditions, startedAt }: Results): string {
  let y = 12;
  const parts: string[] = [];
  for (const comparison of comparisons) {
    parts.push(text(16, (y += LINE), `${comparison.title} (${comparison.unit} a second)`, 'title'));
    y += 10;
    const largest = Math.max(...comparison.rows.map(({ perSecond }) => perSecond.max));
    for (const row of comparison.rows) {
      parts.push(barOf(row, comparison, y, (WIDTH - LEFT - RIGHT) / largest));
      y += LINE;
    }
    y += 8;
  }
  for (const line of conditionsOf(conditions, startedAt)) parts.push(text(16, (y += 18), line, 'small'));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 18}" role="img" aria-label="Throughput">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .small { font-size: 11px; fill: #59636e }
  .page { fill: #fff } .other { fill: #b6c2cf } .ours { fill: #2f81f7 } .spread { stroke: #1f2328; stroke-width: 1.5 }
</style>
<rect class="page" width="100%" height="100%"/>
${parts.join('\n')}
</svg>
`;
}

/** In each comparison the first row is this package's own. */
function barOf({ name, title, perSecond }: Row, { rows }: ComparisonResult, y: number, scale: number): string {
  const x = (value: number) => (LEFT + value * scale).toFixed(1);
  const kind = rows[0]?.name === name ? 'ours' : 'other';
  const middle = y + BAR / 2;
  return [
    text(LEFT - 10, y + 13, title, '', 'end'),
    `<rect class="${kind}" x="${LEFT}" y="${y}" width="${(perSecond.median * scale).toFixed(1)}" height="${BAR}" rx="2"/>`,
    `<line class="spread" x1="${x(perSecond.min)}" x2="${x(perSecond.max)}" y1="${middle}" y2="${middle}"/>`,
    text(LEFT + perSecond.max * scale + 10, y + 13, rate(perSecond.median)),
  ].join('\n');
}

function text(x: number, y: number, content: string, kind = '', anchor = 'start'): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y}" class="${kind}" text-anchor="${anchor}">${escaped}</text>`;
}
