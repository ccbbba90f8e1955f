import { targetCatalog } from '../../src/schema/catalogs';
import { OBJECTS } from '../../src/schema/objects';

const named = (kind: string) =>
  [...targetCatalog.matchAll(new RegExp(`^${kind} (\\w+)`, 'gm'))].map(([, name]) => name).toSorted();

test.each([
  ['table', OBJECTS.tables],
  ['sequence', OBJECTS.sequences],
  ['function', OBJECTS.functions],
])('every %s that the migrations make is named once, in one place', (kind, names) => {
  expect([...names].toSorted()).toEqual(named(kind));
});
