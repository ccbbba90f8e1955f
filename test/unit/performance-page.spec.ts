import { DocPage } from '../support/docs/doc-page';

const PAGE = new DocPage('docs/explanation/performance.md');

interface Bar {
  name: string;
  atLeast: string;
  measured: string;
}

const missed: Bar[] = PAGE.section('Measured')
  .split('\n### Bars\n')[1]!
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| bar ') && !line.startsWith('| ---'))
  .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()))
  .filter((cells) => cells.at(-1) !== 'pass')
  .map(([name, atLeast, measured]) => ({ name: name!, atLeast: atLeast!, measured: measured! }));

test('every bar that is not reached is explained, and none that is', () => {
  const explained = [
    ...PAGE.section('Bars that are not reached').matchAll(/^- \*\*(.+?)\*\*: ([\d.]+) instead of ([\d.]+), /gm),
  ].map(([, name, measured, atLeast]) => ({ name, atLeast, measured }));
  expect(explained).toEqual(missed);
});

test('each explanation says what follows', () => {
  const paragraphs = PAGE.section('Bars that are not reached').split(/^- /m).slice(1);
  expect(paragraphs.filter((text) => !/What follows:\s/.test(text))).toEqual([]);
});
