import * as exported from '../../src/entities';
import { entities } from '../../src/entities';

test('an entity says the name that it is exported under', () => {
  const named = Object.fromEntries(entities.map((entity) => [entity.name, entity]));
  expect(Object.keys(named)).toHaveLength(entities.length);
  expect(exported).toMatchObject(named);
});
