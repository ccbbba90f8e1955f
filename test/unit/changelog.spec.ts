import { version } from '../../package.json';
import { DocPage } from '../support/docs/doc-page';

const KINDS = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'];
const releases = new DocPage('CHANGELOG.md').text.split(/^## /m).slice(1);

test('the changelog has the form of Keep a Changelog', () => {
  const headings = releases.map((release) => release.split('\n', 1)[0]!);
  expect(headings[0]).toBe('[Unreleased]');
  for (const heading of headings.slice(1)) expect(heading).toMatch(/^\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$/);
  for (const release of releases) {
    const kinds = [...release.matchAll(/^### (.*)$/gm)].map(([, kind]) => kind!);
    expect(kinds).toEqual(KINDS.filter((kind) => kinds.includes(kind)));
    expect(kinds.length).toBeGreaterThan(0);
  }
  // A version that was released has its section.
  if (headings.length > 1) expect(headings[1]).toContain(`[${version}]`);
});
