import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { ENVIRONMENT_VARIABLES, readConfig } from '../../src/config';
import { PaymentEventsDataSourceSettings, type PostgresOptions } from '../../src/connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { databaseAddress } from '../../src/database/database-address';
import { ConfigurationError } from '../../src/errors';
import { rulesOf } from '../../src/validation/keeps-rules';
import { CERTIFICATE } from '../support/database/tls-server';

const ELSEWHERE = { host: 'db.example.com', database: 'd', user: 'u' };
const LOGIN = { database: 'd', user: 'u', password: 'hunter2' };
type Given = Record<string, unknown>;
const optionsOf = (given: Given) => createDataSourceOptions(given);

function refusalOf(attempt: () => unknown): ConfigurationError {
  try {
    attempt();
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

/** What pg connects with, of options or of a URL. */
const clientOf = ({ url, ssl }: PostgresOptions) => new Client({ connectionString: url, ssl: ssl as boolean });
const tlsOf = (options: PostgresOptions) => clientOf(options).ssl as unknown;

const environment = process.env;
afterEach(() => (process.env = environment));
const inEnvironment = (env: NodeJS.ProcessEnv) => (process.env = { ...environment, ...env });

describe('a database by its parts', () => {
  test.each<[Given, Given]>([
    [{ host: 'db.example.com' }, { host: 'db.example.com', port: 5432 }],
    [
      { host: '10.0.0.1', port: 6432 },
      { host: '10.0.0.1', port: 6432 },
    ],
    [{ host: '::1' }, { host: '::1', port: 5432 }],
    [{ host: 'fe80::1%eth0' }, { host: 'fe80::1%eth0' }],
    [{ host: '/run/pg' }, { host: '/run/pg', port: 5432 }],
    [
      { host: '/cloudsql/a:b:c', port: 5433, user: undefined, password: undefined },
      { host: '/cloudsql/a:b:c', port: 5433 },
    ],
    [{ host: 'h', database: 'a@b:c&d=e+f %é' }, { database: 'a@b:c&d=e+f %é' }],
    [
      { host: 'h', user: 'u@corp/é', password: 'p/?#@%:é &' },
      { user: 'u@corp/é', password: 'p/?#@%:é &' },
    ],
  ])('%j leads where it says', (given, expected) => {
    const options = optionsOf({ ...LOGIN, ...given });
    expect(clientOf(options)).toMatchObject(expected);
    // Such as the command line, the seeds and the managers of another DataSource do.
    expect(databaseAddress(options.url!)).toMatchObject({ host: expected.host ?? 'h' });
    expect(new DataSource(options).options).toMatchObject({ url: options.url });
  });

  test.each<[Given, RegExp]>([
    [{}, /url must be given, or host and database\.$/],
    [{ password: 'hunter2' }, /url must be given, or host and database/],
    [{ host: 'h' }, /database must be given with host/],
    [{ database: 'd', user: 'u' }, /host must be given with database, user/],
    [{ url: 'postgresql://u@h/d', host: 'h' }, /url and host are given: say it in one way/],
    [{ url: 'postgresql://u@h/d', port: 1, database: 'd' }, /url and port, database are given/],
    [{ url: 'postgresql://u:hunter2@h/d', password: 'hunter2' }, /password is given, and url has one/],
    [{ url: 'postgresql://u@h/d?password=hunter2', password: () => 'x' }, /password is given, and url has one/],
    [{ url: 'postgresql://u@h/d?sslmode=disable', ssl: 'verify-full' }, /ssl is given, and url says something of TLS/],
    [{ ...LOGIN, host: 'a,b' }, /host must be one host/],
    [{ ...LOGIN, host: 'u:hunter2@h' }, /host must be one host/],
    [{ ...LOGIN, host: 'h:5432' }, /host must be one host/],
    [{ ...LOGIN, host: '' }, /host must be one host/],
    [{ ...LOGIN, host: 'h', port: 0 }, /port must be an integer from 1 to 65535/],
    [{ ...LOGIN, host: 'h', port: '5432' }, /port must be an integer/],
    [{ ...LOGIN, host: 'h', database: 'a/b' }, /database must be the name of a database/],
    [{ ...LOGIN, host: 'h', database: '..' }, /database must be the name of a database/],
    [{ ...LOGIN, host: 'h', database: 'é'.repeat(32) }, /database must be the name of a database: 1 to 63 bytes/],
    [{ ...LOGIN, host: 'h', user: '' }, /user must be the name of a user/],
    [{ ...LOGIN, host: 'h', password: '' }, /password must be text that is not empty, or a function/],
    [{ ...LOGIN, host: 'h', password: 5 }, /password must be text/],
    [{ ...LOGIN, host: 'h', ssl: true }, /ssl must be 'verify-full', 'no-verify', false, or an object of ca/],
    [{ ...LOGIN, host: 'h', ssl: { rejectUnauthorized: false } }, /ssl must be/],
    [{ ...LOGIN, host: 'h', ssl: { ca: 'hunter2' } }, /ssl must be/],
    [{ ...LOGIN, host: 'h', ssl: { certFile: CERTIFICATE } }, /ssl must be/],
    [{ ...LOGIN, host: 'h', ssl: { caFile: '/nowhere/at/all' } }, /ssl has a caFile that names a file .* \(ENOENT\)/],
  ])('%j is refused in a sentence that has no value of it', (given, sentence) => {
    const error = refusalOf(() => optionsOf(given));
    expect(error.message).toMatch(sentence);
    expect(inspect(error, { showHidden: true }) + JSON.stringify(error)).not.toContain('hunter2');
  });

  test('read replicas are refused with the reason, also where they are spread in', () => {
    const replication = { master: { url: 'postgresql://u:hunter2@h/d' }, slaves: [] };
    const options = createDataSourceOptions({ url: 'postgresql://u@localhost/d' });
    for (const attempt of [
      () => optionsOf({ url: 'postgresql://u@h/d', replication }),
      () => new PaymentEventsDataSource({ ...options, replication }),
    ]) {
      const { message } = refusalOf(attempt);
      expect(message).toMatch(/^replication must be left out: operations read what they have just written/);
      expect(message).not.toContain('hunter2');
    }
    expect(new PaymentEventsDataSource({ ...options, replication: undefined })).toBeInstanceOf(DataSource);
  });
});

describe('TLS', () => {
  const REMOTE = 'postgresql://u:p@db.example.com/d';
  const LOCAL = ['localhost', '127.0.0.1', '::1', '/run/pg'];

  test('is verify-full in production where nothing is said and the server on another machine', () => {
    inEnvironment({ NODE_ENV: 'production' });
    for (const options of [optionsOf({ url: REMOTE }), optionsOf(ELSEWHERE)]) {
      expect(tlsOf(options)).toEqual({});
      expect(options.url).toContain('sslmode=verify-full');
    }
    const { dataSource } = readConfig({ NODE_ENV: 'production', DATABASE_URL: REMOTE });
    expect(dataSource.url).toBe(`${REMOTE}?sslmode=verify-full`);
    const { databaseUrl } = readConfig({
      NODE_ENV: 'production',
      PGHOST: 'db.example.com',
      PGDATABASE: 'd',
      PGUSER: 'u',
    });
    expect(databaseUrl).toBe('postgresql://u@db.example.com:5432/d?sslmode=verify-full');
  });

  test('is none in production where it is said so, and on this machine', () => {
    inEnvironment({ NODE_ENV: 'production' });
    for (const none of ['sslmode=disable', 'ssl=false', 'ssl=0']) {
      expect(tlsOf(optionsOf({ url: `${REMOTE}?${none}` }))).toBe(false);
      const { databaseUrl } = readConfig({ NODE_ENV: 'production', DATABASE_URL: `${REMOTE}?${none}` });
      expect(tlsOf(optionsOf({ url: databaseUrl }))).toBe(false);
    }
    expect(tlsOf(optionsOf({ ...ELSEWHERE, ssl: false }))).toBe(false);
    expect(tlsOf(optionsOf({ url: REMOTE, ssl: false }))).toBe(false);
    for (const host of LOCAL) expect(tlsOf(optionsOf({ ...ELSEWHERE, host }))).toBe(false);
  });

  test('is none outside of production where nothing is said', () => {
    for (const NODE_ENV of ['development', 'test', 'staging', undefined]) {
      inEnvironment({ NODE_ENV });
      expect(tlsOf(optionsOf({ url: REMOTE }))).toBe(false);
      expect(tlsOf(optionsOf(ELSEWHERE))).toBe(false);
    }
  });

  test('is what PGSSLMODE says where nothing else does, once: pg does not look again', () => {
    inEnvironment({ NODE_ENV: 'production', PGSSLMODE: 'disable' });
    expect(tlsOf(optionsOf(ELSEWHERE))).toBe(false);
    inEnvironment({ PGSSLMODE: 'require' });
    const [required, disabled, set] = [
      optionsOf(ELSEWHERE),
      optionsOf({ url: `${REMOTE}?sslmode=disable` }),
      optionsOf({ ...ELSEWHERE, ssl: 'no-verify' }),
    ];
    inEnvironment({ PGSSLMODE: 'no-verify' });
    expect([required, disabled, set].map(tlsOf)).toEqual([{}, false, { rejectUnauthorized: false }]);
    inEnvironment({ PGSSLMODE: '' });
    const none = optionsOf(ELSEWHERE);
    inEnvironment({ PGSSLMODE: 'require' });
    expect(tlsOf(none)).toBe(false);
    expect(tlsOf(optionsOf({ ...ELSEWHERE, host: '/run/pg' }))).toBe(false);
  });

  test.each(['allow', 'Require', 'true'])('a PGSSLMODE of %s is refused, where pg takes it for none', (PGSSLMODE) => {
    expect(refusalOf(() => readConfig({ PGSSLMODE })).message).toMatch(/^PGSSLMODE must be one of disable, prefer, /);
    inEnvironment({ PGSSLMODE });
    expect(refusalOf(() => optionsOf(ELSEWHERE)).message).toMatch(/^PGSSLMODE must be one of disable, prefer, /);
  });

  test('has the files that PGSSLROOTCERT and the like name, where there is TLS and the URL names none', () => {
    const noPem = join(tmpdir(), 'no-pem.txt');
    writeFileSync(noPem, 'hello');
    for (const PGSSLROOTCERT of ['/nowhere/at/all', noPem]) {
      const sentence = /^PGSSLROOTCERT .*(cannot be read|no PEM file)/;
      expect(refusalOf(() => readConfig({ PGSSLROOTCERT })).message).toMatch(sentence);
      inEnvironment({ PGSSLMODE: 'verify-full', PGSSLROOTCERT });
      expect(refusalOf(() => optionsOf(ELSEWHERE)).message).toMatch(sentence);
    }
    const system = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: 'system' };
    expect(readConfig({ ...system, DATABASE_URL: REMOTE }).databaseUrl).toBe(`${REMOTE}?sslmode=verify-full`);
    const env = { PGSSLROOTCERT: CERTIFICATE, PGSSLCERT: CERTIFICATE, PGSSLKEY: CERTIFICATE };
    const files = { caFile: CERTIFICATE, certFile: CERTIFICATE, keyFile: CERTIFICATE };
    inEnvironment({ ...env, PGSSLMODE: 'verify-full' });
    expect(optionsOf(ELSEWHERE).extra).toMatchObject({ certificates: files });
    inEnvironment(env);
    expect(optionsOf({ url: `${REMOTE}?sslmode=require` }).extra).toMatchObject({ certificates: files });
    expect(tlsOf(optionsOf(ELSEWHERE))).toBe(false);
    expect(tlsOf(optionsOf({ url: `${REMOTE}?sslmode=disable` }))).toBe(false);
    const { databaseUrl } = readConfig({ ...env, PGSSLMODE: 'require', DATABASE_URL: REMOTE });
    expect(new Client({ connectionString: databaseUrl }).ssl).toMatchObject({
      ca: expect.stringContaining('BEGIN CERTIFICATE') as string,
    });
  });

  test('with files of a URL is as strict as before, though a connection reads them itself', () => {
    const authority = encodeURIComponent(CERTIFICATE);
    for (const parameters of [`sslrootcert=${authority}`, `ssl=0&sslrootcert=${authority}`, `sslcert=${authority}`]) {
      expect(tlsOf(optionsOf({ url: `${REMOTE}?${parameters}` }))).toEqual({});
    }
    const compatible = optionsOf({ url: `${REMOTE}?uselibpqcompat=true&sslmode=require&sslrootcert=${authority}` });
    expect(tlsOf(compatible)).toMatchObject({ ca: expect.any(String) as string });
    expect(tlsOf(compatible)).not.toHaveProperty('rejectUnauthorized');
  });
});

describe('the environment', () => {
  const PARTS = { PGHOST: 'db.example.com', PGPORT: '6432', PGDATABASE: 'd', PGUSER: 'u', PGPASSWORD: 'p@/' };

  test('may have the parts in the place of DATABASE_URL, which wins', () => {
    expect(readConfig(PARTS).databaseUrl).toBe('postgresql://u:p%40%2F@db.example.com:6432/d');
    expect(readConfig({ PGHOST: '/run/pg', PGDATABASE: 'd' }).databaseUrl).toMatch(/\/d\?host=%2Frun%2Fpg$/);
    expect(readConfig({ NODE_ENV: 'production', PGHOST: '/run/pg', PGDATABASE: 'd' }).databaseUrl).not.toContain('ssl');
    const url = 'postgresql://a:b@other/c';
    expect(readConfig({ ...PARTS, DATABASE_URL: url }).databaseUrl).toBe(url);
  });

  test.each([
    [{ PGHOST: 'h' }, 'PGDATABASE must be set with PGHOST, or DATABASE_URL instead.'],
    [{ PGDATABASE: 'd' }, 'PGHOST must be set with PGDATABASE, or DATABASE_URL instead.'],
    [{ ...PARTS, PGHOST: 'a,b' }, /^PGHOST must be one host/],
    [{ ...PARTS, PGPORT: '0x10' }, /^PGPORT must be an integer from 1 to 65535/],
    [{ ...PARTS, PGDATABASE: 'a/b' }, /^PGDATABASE must be the name of a database/],
    [{ ...PARTS, PGUSER: 'u\0' }, /^PGUSER must be the name of a user/],
    [{ ...PARTS, PGPASSWORD: 'hunter2\0' }, /^PGPASSWORD must be text/],
  ])('%j is refused by the name of the variable', (env, message) => {
    const error = refusalOf(() => readConfig(env));
    expect(error.message).toMatch(message);
    expect(inspect(error, { showHidden: true })).not.toContain('hunter2');
  });

  test('leaves to pg the port, user and password that a URL leaves out, as psql does', () => {
    const { PGPORT, PGUSER, PGPASSWORD } = PARTS;
    const { databaseUrl } = readConfig({ DATABASE_URL: 'postgresql://h/d', PGPORT, PGUSER, PGPASSWORD });
    inEnvironment({ PGPORT, PGUSER, PGPASSWORD });
    expect(new Client({ connectionString: databaseUrl })).toMatchObject({ port: 6432, user: 'u', password: 'p@/' });
  });

  test('has no other opinion of a value than the settings in code', () => {
    const variables = ENVIRONMENT_VARIABLES.filter((name) => name.startsWith('PAYMENT_EVENTS_DB_'));
    expect(variables.length).toBeGreaterThan(10);
    const named = { host: 'PGHOST', port: 'PGPORT', database: 'PGDATABASE', user: 'PGUSER' } as Record<string, string>;
    const variableOf = (name: string) =>
      named[name] ?? `PAYMENT_EVENTS_DB_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    const settings = rulesOf(PaymentEventsDataSourceSettings).map(({ property }) => property);
    const shared = settings.filter((name) => [...variables, ...Object.values(named)].includes(variableOf(name)));
    expect(shared).toHaveLength(variables.length + Object.keys(named).length);
    const edges = [-1, 0, 1, 63, 64, 999, 1_000, 1_001, 36_500, 36_501, 65_535, 65_536, 2_147_483_647, 2_147_483_648];
    const texts = [
      'a',
      'A',
      '_',
      'pg_x',
      'x'.repeat(63),
      'x'.repeat(64),
      'é',
      'a b',
      '..',
      'a/b',
      'role',
      'mask',
      'startup',
      'named',
      '::1',
    ];
    const all = [...edges, ...texts];
    const isIn = (attempt: () => unknown) => {
      try {
        attempt();
        return true;
      } catch {
        return false;
      }
    };
    const parts = { PGHOST: 'h', PGDATABASE: 'd' };
    const differences = shared.flatMap((name) => {
      const inCode = (value: unknown) => isIn(() => optionsOf({ host: 'h', database: 'd', [name]: value }));
      const inEnv = (value: unknown) => isIn(() => readConfig({ ...parts, [variableOf(name)]: String(value) }));
      // What stands for a number is a number in code, and a text in the environment.
      const isNumber = inCode(1);
      const values = isNumber ? edges : all.map(String);
      expect(values.some(inCode) && !values.every(inCode)).toBe(true);
      return values.filter((value) => inCode(value) !== inEnv(value)).map((value) => ({ name, value }));
    });
    expect(differences).toEqual([]);
  });
});
