import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import LONGEST from '../support/jest/longest-specs.json';

const ROOT = join(__dirname, '../..');
const JEST = join(ROOT, 'node_modules/jest/bin/jest.js');
const listed = (config: string) =>
  execFileSync(process.execPath, [JEST, '--config', config, '--listTests'], { cwd: ROOT, encoding: 'utf8' })
    .trim()
    .split('\n');

test('every spec is run by `npm test`, by `npm run test:faults` or by `npm run test:outside`, and by one of them', () => {
  const specs = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.spec.ts'))
    .map((file) => join(ROOT, 'test', file));
  const configs = ['jest.config.js', 'jest.faults.config.js', 'jest.outside.config.js'];
  expect(configs.flatMap(listed).toSorted()).toEqual(specs.toSorted());
});

describe('the files that take longest', () => {
  interface Sequencer {
    sort(tests: object[]): { path: string }[];
  }
  const configOf = (file: string) => jest.requireActual<{ testSequencer: string }>(join(ROOT, file));
  const { testSequencer } = configOf('jest.config.js');
  const LongestFirst = jest.requireActual<new (options: object) => Sequencer>(testSequencer.replace('<rootDir>', ROOT));

  test('are there', () => {
    expect(LONGEST.filter((path) => !existsSync(join(ROOT, 'test', path)))).toEqual([]);
  });

  test('start first, longest before long, where no earlier run tells how long each takes', () => {
    // As Jest hands them over, with nothing in its cache.
    const context = { config: { cache: false }, hasteFS: { getSize: () => 1 } };
    const paths = [__filename, ...LONGEST.toReversed().map((path) => join(ROOT, 'test', path))];
    const sorted = new LongestFirst({}).sort(paths.map((path) => ({ path, context })));
    expect(sorted.map(({ path }) => path)).toEqual(paths.toReversed());
  });

  test.each(['jest.faults.config.js', 'jest.outside.config.js'])('start first in the project of %s', (config) => {
    expect(configOf(config).testSequencer).toBe(testSequencer);
  });
});
