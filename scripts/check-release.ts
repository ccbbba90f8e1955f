import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Release, problemsOfRelease } from './support/check-release';

const read = (file: string) => readFileSync(join(__dirname, '..', file), 'utf8');

/** `npm run release:check -- v1.2.0`: says what keeps this tag from being published, and ends with 1 where anything does. */
const problems = problemsOfRelease({
  tag: process.argv[2] ?? '',
  manifest: JSON.parse(read('package.json')) as Release['manifest'],
  changelog: read('CHANGELOG.md'),
});
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
