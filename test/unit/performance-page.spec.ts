import { existsSync } from 'node:fs';
import { DocPage } from '../support/docs/doc-page';

const PAGE = new DocPage('docs/explanation/performance.md');

interface Bar {
  machine: string;
  name: string;
  limit: string;
  measured: string;
}

const machines = [...PAGE.text.matchAll(/<!-- machine (\d): begin -->(.*?)<!-- machine \1: end -->/gs)].map(
  ([, machine, text]) => ({ machine: machine!, text: text! }),
);

const missed = machines.flatMap(({ machine, text }) =>
  text
    .split('\n#### Bars\n')[1]!
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| bar ') && !line.startsWith('| ---'))
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()))
    .filter((cells) => !['pass', 'as expected'].includes(cells.at(-1)!))
    .map(([name, limit, measured]): Bar => ({
      machine,
      name: name!,
      limit: /[\d.]+$/.exec(limit!)![0],
      measured: measured!,
    })),
);

test('there are the figures of two machines, each dated and with a chart', () => {
  expect(machines.map(({ machine }) => machine)).toEqual(['1', '2']);
  for (const { machine, text } of machines) {
    expect(text).toMatch(/^\n\n20\d\d-\d\d-\d\d: PostgreSQL /);
    expect(text).toContain(`(performance-${machine}.svg)`);
    expect(existsSync(`${__dirname}/../../docs/explanation/performance-${machine}.svg`)).toBe(true);
  }
});

test('every bar that is not reached is explained, and none that is', () => {
  const explained = [
    ...PAGE.section('Bars that are not reached').matchAll(
      /^- \*\*(.+?)\*\*, machine (\d): ([\d.]+) instead of ([\d.]+), /gm,
    ),
  ].map(([, name, machine, measured, limit]) => ({ machine, name, limit, measured }));
  expect(explained).toEqual(missed);
});

test('each explanation says what follows', () => {
  const paragraphs = PAGE.section('Bars that are not reached').split(/^- /m).slice(1);
  expect(paragraphs.filter((text) => !/What follows:\s/.test(text))).toEqual([]);
});
