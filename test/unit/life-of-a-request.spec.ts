import { HOLD_STATES, HOLD_TRANSITIONS } from '../../src/auth-requests/holds/states';
import { AUTH_REQUEST_STATUSES, TRANSITIONS } from '../../src/auth-requests/statuses';
import { DocPage } from '../support/docs/doc-page';

const page = new DocPage('docs/explanation/life-of-a-request.md');

/** The arrows of the diagram under a heading: where each state leads. */
function arrowsOf(section: string): Record<string, string[]> {
  const arrows: Record<string, string[]> = {};
  const [diagram] = page.blocksOf(section, 'mermaid');
  for (const [, from, to] of diagram!.matchAll(/^ {2}(\S+) --> (\w+)/gm)) (arrows[from!] ??= []).push(to!);
  return arrows;
}

const sorted = (transitions: Readonly<Record<string, readonly string[]>>) =>
  Object.fromEntries(Object.entries(transitions).map(([from, to]) => [from, to.toSorted()]));

describe('the page on the life of a request', () => {
  it('draws the changes of status that a request allows, and no other', () => {
    const { '[*]': beginnings, ...arrows } = arrowsOf('A request');
    const ends = Object.fromEntries(AUTH_REQUEST_STATUSES.map((status) => [status, arrows[status] ?? []]));
    expect(beginnings).toEqual(['PENDING']);
    expect(sorted(ends)).toEqual(sorted(TRANSITIONS));
  });

  it('draws the changes of state that a hold allows, and no other', () => {
    const { '[*]': beginnings, ...arrows } = arrowsOf('A hold');
    const ends = Object.fromEntries(HOLD_STATES.map((state) => [state, arrows[state] ?? []]));
    expect(sorted(ends)).toEqual(sorted(HOLD_TRANSITIONS));
    // Nobody has failed to void what nobody has asked to void.
    expect(beginnings!.toSorted()).toEqual(HOLD_STATES.filter((state) => state !== 'void_failed').toSorted());
  });

  it('has a line for each state that a request and a hold can take', () => {
    for (const status of AUTH_REQUEST_STATUSES) expect(page.section('A request')).toContain(`| ${status} |`);
    for (const state of HOLD_STATES) expect(page.section('A hold')).toContain(`\`${state}\``);
  });
});
