import { join } from 'node:path';
import { libpqTls } from '../../src/connection/libpq-tls';
import { serverOptions } from '../../src/reporting/server-options';
import { libpqConnection, loginOf } from '../../src/shards/split/connection';

const FILE = join(__dirname, '../fixtures/tls/server.crt');
const [OLD, NEW] = [150_013, 160_000];
const CHECKED = { sslmode: 'verify-full', sslrootcert: 'system' };

const CASES: readonly [parameters: string, version: number, expected: Record<string, string>][] = [
  ['', NEW, {}],
  ['sslmode=disable', NEW, { sslmode: 'disable' }],
  [`sslmode=disable&sslrootcert=${FILE}`, NEW, { sslmode: 'disable' }],
  ['ssl=0', NEW, { sslmode: 'disable' }],
  ['ssl=false', NEW, { sslmode: 'disable' }],
  ['sslmode=no-verify', NEW, { sslmode: 'require' }],
  [`sslmode=no-verify&sslrootcert=${FILE}`, NEW, { sslmode: 'require' }],
  ['ssl=no-verify', NEW, { sslmode: 'require' }],
  ['ssl=true', NEW, CHECKED],
  ['ssl=1', NEW, CHECKED],
  ['sslnegotiation=direct', NEW, CHECKED],
  ...['prefer', 'require', 'verify-ca', 'verify-full'].flatMap((mode): typeof CASES => [
    [`sslmode=${mode}`, NEW, CHECKED],
    // It would take that for the name of a file.
    [`sslmode=${mode}`, OLD, { sslmode: 'verify-full' }],
    [`sslmode=${mode}&sslrootcert=${FILE}`, OLD, { sslmode: 'verify-full', sslrootcert: FILE }],
  ]),
  [`sslrootcert=${FILE}`, NEW, { sslmode: 'verify-full', sslrootcert: FILE }],
  ['uselibpqcompat=true&sslmode=prefer', NEW, { sslmode: 'require' }],
  ['uselibpqcompat=true&sslmode=require', NEW, { sslmode: 'require' }],
  [`uselibpqcompat=true&sslmode=verify-ca&sslrootcert=${FILE}`, NEW, { sslmode: 'verify-ca', sslrootcert: FILE }],
  ['uselibpqcompat=true&sslmode=verify-full', NEW, CHECKED],
];

const tlsOf = (pairs: string, pair: RegExp): Record<string, string> =>
  Object.fromEntries(
    [...pairs.matchAll(pair)]
      .map(([, name, value]) => [name!, value!] as const)
      .filter(([name]) => ['sslmode', 'sslrootcert'].includes(name)),
  );

describe.each(CASES)(
  'TLS is never weaker in a server than the URL means here: %s at %d',
  (parameters, version, expected) => {
    const url = `postgresql://jo:hush@db-a.internal/payments${parameters && `?${parameters}`}`;

    test('by what libpq is told', () => {
      expect(libpqTls(new URLSearchParams(parameters), version)).toEqual(expected);
    });

    test('of a foreign server', () => {
      expect(tlsOf(serverOptions(url, version), /(\w+) '([^']*)'/g)).toEqual(expected);
    });

    test('of a subscription', () => {
      expect(tlsOf(libpqConnection(url, { version }), /(\w+)='([^']*)'/g)).toEqual(expected);
    });
  },
);

test('files that a connection reads itself are named to the server as well', () => {
  const certificates = { caFile: FILE, certFile: 'c.crt', keyFile: 'c.key' };
  const text = libpqConnection('postgresql://jo@db-a.internal/payments?sslmode=require', {
    version: NEW,
    certificates,
  });
  expect(text).toContain(`sslmode='verify-full' sslrootcert='${FILE}' sslcert='c.crt' sslkey='c.key'`);
});

test.each([
  ["host='h' user='O\\'Neil \\\\ Co' password='user=x'", "O'Neil \\ Co"],
  ['user=jo host=h', 'jo'],
  ['postgresql://j%40o:secret@db.internal/payments', 'j@o'],
  ['postgresql://jo@db.internal', 'jo'],
  ['postgresql://db.internal:5432/payments?user=x', undefined],
  ["host='h' dbname='user=x'", undefined],
  ['postgresql://jo%zz@db.internal', undefined],
])('the login of %s is known', (connection, login) => {
  expect(loginOf(connection)).toBe(login);
});
