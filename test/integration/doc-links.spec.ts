import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import manifest from '../../package.json';

const ROOT = join(__dirname, '../..');
const START = 'README.md';

const PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'].concat(
  readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join('docs', path)),
);

/** Every file of the tarball but the compiled code, which no page links to. */
const PACKED = (
  JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '--silent'], {
      cwd: ROOT,
      encoding: 'utf8',
    }),
  ) as [{ files: { path: string }[] }]
)[0].files.map(({ path }) => path);

const read = (page: string) => readFileSync(join(ROOT, page), 'utf8');
const withoutCode = (text: string) => text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, '');

interface Link {
  page: string;
  /** As it is written. */
  link: string;
  /** The file it leads to. */
  target: string;
  anchor: string | undefined;
}

/** The links of a page to other files and to its own sections. Those to other hosts are not followed. */
function linksOf(page: string): Link[] {
  return [...withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^https:\/\//.test(link))
    .map((link) => {
      const [path, anchor] = link.split('#');
      return { page, link, target: path === '' ? page : normalize(join(page, '..', path!)), anchor };
    });
}

/** The anchors of a page, as GitHub and npm make them of its headings. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of read(page)
    .replace(/^```.*?^```$/gms, '')
    .matchAll(/^#+ (.*)$/gm)) {
    const text = heading!.replace(/\]\([^)]*\)/g, ']').toLowerCase();
    const anchor = text.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-');
    let [unique, copies] = [anchor, 0];
    while (anchors.has(unique)) unique = `${anchor}-${++copies}`;
    anchors.add(unique);
  }
  return anchors;
}

const links = PAGES.flatMap(linksOf);

test('every page is reached from the README', () => {
  const reached = new Set([START]);
  for (const page of reached) {
    for (const { target } of linksOf(page)) if (PAGES.includes(target)) reached.add(target);
  }
  expect(PAGES.filter((page) => !reached.has(page))).toEqual([]);
});

test('every page of docs/ stands in the index of the documentation', () => {
  const listed = linksOf('docs/README.md').map(({ target }) => target);
  // Those of the API have an index of their own, docs/reference/api.md.
  const pages = PAGES.filter((page) => /^docs\/(?!README|reference\/api\/)/.test(page));
  expect(pages.filter((page) => !listed.includes(page))).toEqual([]);
});

test('every link leads to a file that is there, and to a heading of it', () => {
  expect(links.length).toBeGreaterThan(100);
  const broken = links.filter(({ target, anchor }) => {
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).has(anchor);
  });
  expect(broken).toEqual([]);
});

test('all of it, and all that it links to, is in the packed package', () => {
  expect(PAGES.filter((page) => !PACKED.includes(page))).toEqual([]);
  expect(links.filter(({ target }) => !PACKED.includes(target))).toEqual([]);
});

describe('what a page names as code', () => {
  const named = (pattern: RegExp) =>
    PAGES.filter((page) => page !== 'CHANGELOG.md').flatMap((page) =>
      [...read(page).matchAll(pattern)].map(([, name]) => name!),
    );

  test('is a file that is in the repository', () => {
    const files = named(/`((?:src|test|scripts|infrastructure|proto|docs|\.ci)\/[\w./-]+)`/g).concat(
      named(/\.\/(scripts\/\w+\.sh)/g),
    );
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  test('is an npm script that there is', () => {
    const scripts = named(/npm run ([\w:]+)/g);
    expect(scripts.length).toBeGreaterThan(10);
    expect(scripts.filter((name) => !(name in manifest.scripts))).toEqual([]);
  });
});
