import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mendLinks } from '../../../src/testing/postgres-binaries';

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'binaries-')), 'native');
  mkdirSync(join(folder, 'lib'), { recursive: true });
  writeFileSync(join(folder, 'lib', 'libpq.so.5.18'), 'library');
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }];
  writeFileSync(join(folder, 'pg-symlinks.json'), JSON.stringify(links));
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

it('links the libraries that an install without scripts leaves out, once', () => {
  mendLinks(folder);
  mendLinks(folder);
  expect(readFileSync(join(folder, 'lib', 'libpq.so.5'), 'utf8')).toBe('library');
});

it('names the library that it cannot link', () => {
  rmSync(join(folder, 'lib'), { recursive: true });
  expect(() => mendLinks(folder)).toThrow(`The library ${join(folder, 'lib', 'libpq.so.5')} is missing`);
});
