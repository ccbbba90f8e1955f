import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Older commits were written before the rule. */
const LAST = 15;

/** None where there is no history, as in a tarball; fewer in a shallow clone. */
const subjects = spawnSync('git', ['log', `--max-count=${LAST}`, '--format=%s'], {
  cwd: join(__dirname, '../..'),
  encoding: 'utf8',
}).stdout;

test('the subjects of the last commits have at most 72 characters', () => {
  expect((subjects ?? '').split('\n').filter((subject) => subject.length > 72)).toEqual([]);
});
