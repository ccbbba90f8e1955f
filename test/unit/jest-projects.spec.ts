import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

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
