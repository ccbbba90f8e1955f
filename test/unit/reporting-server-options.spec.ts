import { join } from 'node:path';
import { serverOptions } from '../../src/reporting/server-options';

const CERTIFICATE = join(__dirname, '../fixtures/tls/server.crt');
const [OLD, NEW] = [150_013, 180_004];
const options = (url: string, version = NEW): Record<string, string | undefined> =>
  Object.fromEntries(
    [...serverOptions(url, version).matchAll(/(\w+) '((?:[^']|'')*)'/g)].map(([, name, value]) => [name!, value!]),
  );

test('where a server is found goes into its options, and nothing of the login', () => {
  const url = 'postgresql://owner:hush-hush@db-a.internal:5433/payments';
  expect(options(url)).toMatchObject({ host: 'db-a.internal', port: '5433', dbname: 'payments' });
  expect(serverOptions(url, NEW)).not.toMatch(/owner|hush/);
});

test('all databases are asked at once, and none can be written', () => {
  const all = options('postgresql://db-a/payments');
  expect(all).toMatchObject({ async_capable: 'true', updatable: 'false', truncatable: 'false' });
});

test.each([
  ['', NEW, {}],
  ['?sslmode=disable', NEW, { sslmode: 'disable' }],
  ['?sslmode=no-verify', NEW, { sslmode: 'require' }],
  ['?sslmode=verify-full', NEW, { sslmode: 'verify-full', sslrootcert: 'system' }],
  // It would take that for the name of a file.
  ['?sslmode=verify-full', OLD, { sslmode: 'verify-full' }],
  [`?sslmode=verify-full&sslrootcert=${CERTIFICATE}`, OLD, { sslmode: 'verify-full', sslrootcert: CERTIFICATE }],
])('TLS is what the URL says: %s at %s', (parameters, version, expected) => {
  const { sslmode, sslrootcert } = options(`postgresql://db-a/payments${parameters}`, version);
  expect({ ...(sslmode && { sslmode }), ...(sslrootcert && { sslrootcert }) }).toEqual(expected);
});
