import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const SRC = join(__dirname, '../../src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

/** The room of a file: its folder, or the file itself at the top. */
const roomOf = (file: string) => file.split('/')[0]!.replace(/\.ts$/, '');

/** Which rooms each room reads from. `errors` is everybody's. */
const arrows = new Map<string, Set<string>>();
for (const file of files) {
  const text = readFileSync(join(SRC, file), 'utf8');
  for (const [, to] of text.matchAll(/from '(\.[^']*)'/g)) {
    const [from, into] = [file, relative(SRC, resolve(SRC, dirname(file), to!))].map(roomOf) as [string, string];
    if (from === into || into === 'errors') continue;
    arrows.set(from, (arrows.get(from) ?? new Set()).add(into));
  }
}

function above(room: string, seen = new Set<string>()): Set<string> {
  for (const next of arrows.get(room) ?? []) {
    if (!seen.has(next)) above(next, seen.add(next));
  }
  return seen;
}

test('no room reads from one that reads from it, over however many others', () => {
  expect([...arrows.keys()].filter((room) => above(room).has(room))).toEqual([]);
});

test.each([
  ['database', []],
  ['protobuf', []],
  ['validation', []],
  ['connection', ['database', 'validation']],
  ['card-numbers', ['database', 'validation']],
  ['schema', ['database']],
  ['migrations', ['database']],
  ['migrator', ['database', 'migrations', 'schema', 'validation']],
  ['grants', ['database', 'migrator', 'schema', 'validation']],
])('%s stands on %j alone', (room, rooms) => {
  expect([...(arrows.get(room) ?? [])].toSorted()).toEqual(rooms);
});

test('at the top there are index, config, data-source and errors', () => {
  const top = readdirSync(SRC).filter((name) => statSync(join(SRC, name)).isFile());
  expect(top.toSorted()).toEqual(['config.ts', 'data-source.ts', 'errors.ts', 'index.ts']);
});
