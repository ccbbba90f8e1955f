import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(__dirname, '../..');

/** Turns of phrase that a reader who learned English at school has to look up, and what to say instead. */
const RIDDLES: [RegExp, string][] = [
  [/(?:not|is|are|was|were) to be had/i, 'cannot be taken, is not there'],
  [/\bhears\b/i, 'is told, is called with'],
  [/\bbe it\b/i, 'also, or'],
  [/\bwho(?:m|so)?ever\b/i, 'the user that, all who'],
  [/\bfarewell\b|\bbidden\b/i, 'the last message'],
  [/\bthose aside\b/i, 'except those'],
  [/\bits (?:like|fellows)\b/i, 'others of its kind'],
  [/\bwhat (?:becomes|became) of\b/i, 'what happens to, how it ended'],
  [/\bof one's own\b/i, 'that somebody added'],
  [/\bbears? (?:it|that|this|no|none)\b|\bcannot bear\b/i, 'tolerates, must not'],
  [/\bwants of\b/i, 'needs from'],
  [/\bheed(?:s|ed|ing)?\b/i, 'obeys, stops when'],
  [/\banew\b/i, 'again'],
  [/\bunheard\b/i, 'without a reader'],
  [/\bin hand\b/i, 'current'],
  [/\bmend(?:s|ing)?\b/i, 'repair, correct'],
  [/\b(?:lest|thereof|wherein|whence|hitherto|betwixt|naught|aught)\b/i, 'a plain word'],
];

/** Made from the code, by a compiler or by `npm run docs:reference`. */
const MADE = /^(?:docs\/reference\/(?!errors|metrics|sealed-secrets)|src\/protobuf\/generated\/)/;

const filesOf = (folder: string) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file));

const files = [
  ...filesOf('src'),
  ...filesOf('docs'),
  ...filesOf('scripts'),
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
]
  .filter((file) => /\.(ts|md|sh)$/.test(file) && existsSync(join(ROOT, file)) && !MADE.test(file))
  .sort();

test.each(RIDDLES)('nothing that is read has %s: there is a plain word for it', (riddle) => {
  const lines = files.flatMap((file) =>
    readFileSync(join(ROOT, file), 'utf8')
      .split('\n')
      .flatMap((line, index) => (riddle.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
  expect(lines).toEqual([]);
});

test('messages, comments and pages are read', () => {
  expect(files).toEqual(expect.arrayContaining(['src/errors.ts', 'docs/reference/errors.md', 'scripts/reset.ts']));
  expect(files.length).toBeGreaterThan(140);
});
