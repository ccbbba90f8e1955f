/** Parts of a chart, as SVG. */

const escaped = (content: string) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

export const text = (x: number, y: number, content: string, kind = '', anchor: 'start' | 'middle' | 'end' = 'start') =>
  `<text x="${x.toFixed(1)}" y="${y}" class="${kind}" text-anchor="${anchor}">${escaped(content)}</text>`;

export const rectangle = (kind: string, x: number, y: number, width: number, height: number) =>
  `<rect class="${kind}" x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${height}" rx="2"/>`;

export const line = (kind: string, x1: number, y1: number, x2: number, y2: number) =>
  `<line class="${kind}" x1="${x1.toFixed(1)}" x2="${x2.toFixed(1)}" y1="${y1}" y2="${y2}"/>`;

/** A whole chart, so high, on a white page. */
export const chart = (width: number, height: number, label: string, parts: readonly string[]): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(label)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 14px } .small { font-size: 11px; fill: #59636e }
  .page { fill: #fff } .other { fill: #b6c2cf } .ours { fill: #2f81f7 } .spread { stroke: #1f2328; stroke-width: 1.5 }
</style>
<rect class="page" width="100%" height="100%"/>
${parts.join('\n')}
</svg>
`;
