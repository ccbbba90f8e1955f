import manifest from '../../package.json';
import { VERSION } from '../../src/migrator/version';

test('the version that the history of migrations records is the one of package.json', () => {
  expect(VERSION).toBe(manifest.version);
});
