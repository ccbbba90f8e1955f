import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Command } from 'commander';
import * as manifest from '../../package.json';
import { ENVIRONMENT_VARIABLES } from '../../src/config';
import { createProgram } from '../../src/cli/program';
import { namesOf, textsOf } from '../support/docs/texts-of-source';

const ROOT = join(__dirname, '../..');
const texts = textsOf('src');

/** Every place of the repository by its first folder, but for those that are published. */
const UNPUBLISHED = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !['dist', 'docs', 'node_modules', 'proto', '.git'].includes(entry.name))
  .map(({ name }) => name);

const unpublishedPath = new RegExp(`(?:^|[\\s"'(/])((?:${UNPUBLISHED.join('|').replaceAll('.', '\\.')})/[\\w./-]+)`);

const OF_THE_REPOSITORY: RegExp[] = [
  /\bnpm (?:run|test|start|ci|cit)\b/,
  /\b[\w-]+\.(?:sh|spec\.ts|md)\b/,
  /\bormconfig\.ts\b/,
  unpublishedPath,
];

describe('what the published package says', () => {
  test('names no script, test, page or source file of the repository', () => {
    expect(texts.length).toBeGreaterThan(1_500);
    expect(texts.filter(({ text }) => OF_THE_REPOSITORY.some((one) => one.test(text)))).toEqual([]);
  });

  test('is searched for such names as the repository has', () => {
    const said = ['Run npm run db:start', './scripts/x.sh', 'see docs/how-to/pgbouncer.md', 'in src/errors.ts'];
    expect(said.filter((text) => OF_THE_REPOSITORY.some((one) => one.test(text)))).toEqual(said);
    expect(UNPUBLISHED).toEqual(expect.arrayContaining(['scripts', 'src', 'test', 'infrastructure']));
  });

  test('names only commands and options of its command line, and says npx before them', () => {
    const lines = texts.flatMap(({ at, text }) =>
      [...text.matchAll(/(npx )?payment-events-db ([a-z]+)((?: (?:--[a-z-]+|[a-z]+(?= --)))*)/g)].map(
        ([line, npx, name, rest]) => ({ at, line, npx, words: [name!, ...rest!.split(' ').filter(Boolean)] }),
      ),
    );
    const advised = lines.filter(({ npx, words }) => npx ?? commandOf(words.slice(0, 1)));
    expect(advised.length).toBeGreaterThan(12);
    expect(advised.filter(({ words }) => !isUnderstood(words))).toEqual([]);
    expect(advised.filter(({ npx, line }) => !npx && !NAMES.includes(line))).toEqual([]);
  });

  test('names only variables and settings that there are', () => {
    const there = new Set([...namesOf('src'), ...ENVIRONMENT_VARIABLES]);
    const named = texts
      .filter(({ text }) => /\s/.test(text))
      .flatMap(({ at, text }) => [...text.matchAll(SETTING)].map(([name]) => ({ at, name })));
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter(({ name }) => !there.has(name) && !OF_OTHERS.includes(name))).toEqual([]);
  });

  test('tells to install what package.json knows', () => {
    const installed = texts
      .flatMap(({ text }) => [...text.matchAll(/npm install (?:--[\w-]+ )*(\S+)/g)])
      .map(([, name]) => name!);
    expect(installed).not.toEqual([]);
    expect(installed.filter((name) => !(name in manifest.devDependencies))).toEqual([]);
  });
});

/** `PG_VERSION`, `longestMs`. */
const SETTING = /\b(?:(?:PAYMENT_EVENTS_DB|[A-Z]*DATABASE|PG)_[A-Z_]+|[a-z]+(?:[A-Z][a-z]+)+)\b/g;

/** A program for another process, which is text here. */
const OF_OTHERS = ['getContainerRuntimeClient', 'setEncoding'];

/** What relay, sweep and dev are called in `pg_stat_activity` is no advice; src/read-model advises to adopt without npx. */
const NAMES = [
  'payment-events-db dev',
  'payment-events-db relay',
  'payment-events-db sweep',
  'payment-events-db shard',
  'payment-events-db reporting',
  'payment-events-db adopt',
];

/** The command that these words name, with its subcommand. */
function commandOf(words: readonly string[]): Command | undefined {
  let command: Command | undefined = createProgram();
  for (const word of words) command = command?.commands.find((one) => one.name() === word);
  return command;
}

function isUnderstood(words: readonly string[]): boolean {
  const command = commandOf(words.filter((word) => !word.startsWith('--')));
  const options = words.filter((word) => word.startsWith('--'));
  return command !== undefined && options.every((option) => command.options.some(({ long }) => long === option));
}
