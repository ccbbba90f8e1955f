import { existsSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { type Command } from 'commander';
import { exports as EXPORTS } from '../../package.json';
import { ExitCode } from '../../src/cli/exit-codes';
import { createProgram } from '../../src/cli/program';
import { docTable } from '../support/docs/doc-table';
import { generatedPages, pagesIn } from '../support/docs/reference-pages';

jest.setTimeout(180_000);

const REFERENCE = join(__dirname, '../../docs/reference');
const COMMAND_LINE = 'docs/reference/command-line.md';
const committed = pagesIn(REFERENCE);
let generated: Map<string, string>;
beforeAll(async () => {
  generated = await generatedPages();
});

const headingsOf = (text: string) => [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!);
const anchorsOf = (text: string) =>
  headingsOf(text).map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  );

describe('the generated pages', () => {
  test('are what the code gives (else: npm run docs:reference)', () => {
    const names = [...generated.keys()];
    expect(names.length).toBeGreaterThan(15);
    expect(Object.fromEntries(names.map((name) => [name, committed.get(name)]))).toEqual(Object.fromEntries(generated));
    const ofApi = [...committed.keys()].filter((name) => name.startsWith('api/'));
    expect(ofApi.filter((name) => !generated.has(name))).toEqual([]);
  });

  test('link only to pages and headings that are there, and have no heading twice', () => {
    const broken: string[] = [];
    for (const [name, text] of generated) {
      const prose = text.replace(/^```.*?^```$/gms, '');
      expect({ name, twice: anchorsOf(prose).filter((one, index, all) => all.indexOf(one) !== index) }).toEqual({
        name,
        twice: [],
      });
      for (const [, path, anchor] of prose.matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
        const target = path === '' ? name : normalize(join(name, '..', path!));
        const page = generated.get(target);
        const isThere = page ? !anchor || anchorsOf(page).includes(anchor) : existsSync(join(REFERENCE, target));
        if (!isThere) broken.push(`${name}: ${path}#${anchor}`);
      }
    }
    expect(broken).toEqual([]);
  });

  test('say nothing of the machine that made them', () => {
    const all = [...generated.values()].join('\n');
    expect(all).not.toContain(join(__dirname, '../..'));
    expect(all).not.toMatch(/\bfile:|node_modules\/(?!payment-events-db)/);
  });
});

describe('the page of the API', () => {
  const modules = Object.entries(EXPORTS).flatMap(([subpath, entry]) =>
    typeof entry === 'string' ? [] : [[subpath, entry.default.replace('./dist/', '').replace(/\.js$/, '')] as const],
  );

  test.each(modules)('has a section for all that %s exports', async (_subpath, module) => {
    // What a runner of tests is given by its path has no name.
    const names = Object.keys((await import(join('../..', module))) as object).filter((name) => name !== 'default');
    if (module.endsWith('global-setup')) return expect(names).toEqual([]);
    expect(names.length).toBeGreaterThan(0);
    const sections = [...generated].filter(([name]) => name.startsWith('api/')).flatMap(([, text]) => headingsOf(text));
    expect(names.filter((name) => !sections.includes(name))).toEqual([]);
  });
});

describe('the page of the command line', () => {
  test('has every command with every option', () => {
    const text = generated.get('command-line.md')!;
    const leaves = leavesOf(createProgram());
    expect(leaves.length).toBeGreaterThan(15);
    for (const { words, command } of leaves) {
      const [, section] = text.split(`\n## ${words}\n`);
      const flags = [...section!.split('\n## ')[0]!.matchAll(/^\| `(--[^`]*)`/gm)].map(([, flag]) => flag);
      expect({ words, flags }).toEqual({ words, flags: command.options.map((option) => option.flags) });
    }
  });

  test('has every exit code', () => {
    const codes = docTable(COMMAND_LINE, 'Output and exit codes').map(([code]) => Number(code));
    expect(codes).toEqual(Object.values(ExitCode));
  });
});

function leavesOf(command: Command, words = ''): { words: string; command: Command }[] {
  if (command.commands.length === 0) return [{ words, command }];
  return command.commands.flatMap((inner) => leavesOf(inner, `${words} ${inner.name()}`.trim()));
}
