import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SRC = join(__dirname, '../../src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

/** Not told: class-validator wants one, and a migration has a `name` of its own. */
const UNSEEN = ['validation/keeps-rules.ts', 'migrator/history.ts'];

test('no message and no log asks a class for its name, which a minifier changes', () => {
  const asking = files.filter((file) =>
    /\b(?:[A-Z]\w*|constructor)\.name\b/.test(readFileSync(join(SRC, file), 'utf8')),
  );
  expect(asking.toSorted()).toEqual(UNSEEN.toSorted());
});
