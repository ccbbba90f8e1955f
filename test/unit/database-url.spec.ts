import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Client } from 'pg';
import { createDataSourceOptions } from '../../src/data-source';
import { databaseAddress } from '../../src/database/database-address';
import { readDatabaseUrl, withDatabase } from '../../src/database/database-url';
import { ConfigurationError } from '../../src/errors';
import { CERTIFICATE } from '../support/database/tls-server';

function understood(text: string): string {
  const read = readDatabaseUrl(text);
  if ('problem' in read) throw new Error(read.problem);
  return read.url;
}
const problemOf = (text: string) => {
  const read = readDatabaseUrl(text);
  return 'problem' in read ? read.problem : undefined;
};
const sslOf = (parameters: string) =>
  new Client({ connectionString: understood(`postgresql://u:p@db.example.com/d?${parameters}`) }).ssl as unknown;

describe('a database URL', () => {
  test.each([
    ['postgresql://u:p@/d?host=/cloudsql/project:region:db', { host: '/cloudsql/project:region:db', isLocal: true }],
    ['postgresql://u:p@/d?host=/run/pg&port=5433', { host: '/run/pg', port: 5433 }],
    ['postgresql://u:p@:5433/d?host=/run/pg', { host: '/run/pg', port: 5433 }],
    ['postgresql:///d?host=db.example.com', { host: 'db.example.com', port: 5432, isLocal: false }],
    ['postgresql://u@%2Frun%2Fpg/d', { host: '/run/pg', isLocal: true }],
    ['postgresql://u:p@[::1%25lo]:5433/d', { host: '::1%lo', port: 5433, isLocal: true }],
    ['postgresql://u:p@[fe80::1%25eth0]/d', { host: 'fe80::1%eth0', port: 5432, isLocal: false }],
    ['postgresql://u:p@[::1]/d', { host: '::1', isLocal: true }],
    ['postgresql://u:p@h/a%40b%3Ac%26d%3De%2Bf', { database: 'a@b:c&d=e+f' }],
    ['postgresql://u:p@h/my%20db%25', { database: 'my db%' }],
    ['postgresql://u:p@h/%C3%A9t%C3%A9', { database: 'été' }],
    ['postgresql://u%40corp:p%2F%3F%23@h/d', { user: 'u@corp' }],
    ['POSTGRES://u:p@h/d', { host: 'h', database: 'd' }],
  ])('%s leads where PostgreSQL would go', (text, address) => {
    expect(databaseAddress(understood(text))).toMatchObject(address);
    expect(URL.canParse(understood(text))).toBe(true);
    expect(understood(understood(text))).toBe(understood(text));
  });

  test('keeps its password, whatever is in it and whatever else is rewritten', () => {
    for (const parameters of ['', '?ssl=false', '?sslmode=require']) {
      const url = understood(`postgresql://u:${encodeURIComponent('p/?#@%:é')}@[::1%25lo]/a%40b${parameters}`);
      expect(new Client({ connectionString: url })).toMatchObject({
        password: 'p/?#@%:é',
        database: 'a@b',
        host: '::1%lo',
      });
    }
  });

  test('says which TLS: never a weaker one than is asked for', () => {
    for (const none of ['', 'ssl=0', 'ssl=false', 'sslmode=disable', 'ssl=true&sslmode=disable'])
      expect(sslOf(none)).toBe(false);
    for (const checked of ['sslmode=prefer', 'sslmode=require', 'sslmode=verify-ca', 'sslmode=verify-full']) {
      expect(sslOf(checked)).toEqual({});
    }
    expect(sslOf('ssl=true')).toBe(true);
    expect(sslOf('sslrootcert=system')).toEqual({});
    expect(sslOf('sslmode=no-verify')).toEqual({ rejectUnauthorized: false });
    expect(sslOf('ssl=no-verify')).toEqual({ rejectUnauthorized: false });
    expect(sslOf('uselibpqcompat=true&sslmode=require')).toEqual({ rejectUnauthorized: false });
    const authority = encodeURIComponent(CERTIFICATE);
    expect(sslOf(`sslrootcert=${authority}`)).toEqual({ ca: expect.stringContaining('BEGIN CERTIFICATE') as string });
  });

  test('has no TLS through a socket, where PostgreSQL offers none', () => {
    const url = understood('postgresql://u:p@/d?host=/run/pg&sslmode=require&sslrootcert=/nowhere/at/all');
    expect(new Client({ connectionString: url }).ssl).toBe(false);
  });

  const noPem = join(tmpdir(), 'no-certificate.txt');
  beforeAll(() => writeFileSync(noPem, 'hello'));
  test.each([
    ['postgresql://u:hunter2@h1,h2/d', /^names several hosts/],
    ['postgresql://u:hunter2@h1:5432,h2:5433/d', /^names several hosts/],
    ['postgresql://u:hunter2@h/d?host=h1,h2', /^names several hosts/],
    ['postgresql://u:hunter2@h/d?target_session_attrs=read-write', /^has target_session_attrs/],
    ['postgresql://u:hunter2@h/a%2Fb', /^names a database whose name has \/ \? or #/],
    ['postgresql://u:hunter2@h/a%3fb', /^names a database whose name has/],
    ['postgresql://u:hunter2@h/a%23b', /^names a database whose name has/],
    ['postgresql://u:hunter2@h/a/b', /^must look like/],
    ['postgresql://u:hunter2@h/a#b', /^must look like .* # as %23/],
    ['postgresql://u:hunter2@h/a?b', /^has the parameter b that pg does not know/],
    ['postgresql://u:hunter2@h/..', /^must look like/],
    ['postgresql://u:hunter2@h%0Ax/d', /^must look like/],
    ['postgresql://u:hunter2@/d?host=%1B[2J', /^must look like/],
    ['postgresql://u:hunter2@h/d?client_encoding=LATIN1', /^has a client_encoding/],
    ['postgresql://u:hunter2@h/d?schema=payments', /^has the parameter schema that pg does not know/],
    ['postgresql://u:hunter2@h:0/d', /^has a port/],
    ['postgresql://u:hunter2@h:65536/d', /^has a port/],
    ['postgresql://u:hunter2@h/d?port=abc', /^has a port/],
    ['postgresql://u:hunter2@[::1/d', /^must look like/],
    ['postgresql://u:hunter2@[db]/d', /^must look like/],
    ['postgresql://u%00v:hunter2@h/d', /^must look like/],
    ['postgresql://u:hunter2@h/d?application_name=100%', /^must look like/],
    ['postgresql://u:hunter2@h/d?ssl=require', /^has another ssl than true, false/],
    ['postgresql://u:hunter2@h/d?sslmode=allow', /^has an sslmode that pg does not know/],
    ['postgresql://u:hunter2@h/d?sslmode=Require', /^has an sslmode that pg does not know/],
    ['postgresql://u:hunter2@h/d?sslnegotiation=fast', /^has another sslnegotiation/],
    ['postgresql://u:hunter2@h/d?sslnegotiation=direct&sslmode=disable', /^has sslnegotiation=direct and no TLS/],
    ['postgresql://u:hunter2@h/d?uselibpqcompat=true&sslmode=verify-ca', /^has sslmode=verify-ca without sslrootcert/],
    ['postgresql://u:hunter2@h/d?sslrootcert=/nowhere/at/all', /^has an sslrootcert that names a file .* \(ENOENT\)$/],
    ['postgresql://u:hunter2@h/d?sslkey=/nowhere/at/all', /^has an sslkey that names a file .* \(ENOENT\)$/],
    ['postgresql://u:hunter2@h/d?sslcert=/', /^has an sslcert that names a file .* \(EISDIR\)$/],
    [`postgresql://u:hunter2@h/d?sslrootcert=${noPem}`, /^has an sslrootcert that is no PEM file/],
    ['postgresql://u:12/x?hunter2=y@h/d', /^must look like/],
    ['postgresql://u:12/x?hunter2@h/d', /^must look like/],
  ])('%s is refused in a sentence that has no value of it', (text, sentence) => {
    const problem = problemOf(text);
    expect(problem).toMatch(sentence);
    expect(problem).not.toContain('hunter2');
    let refused: unknown;
    try {
      createDataSourceOptions({ url: text });
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(inspect(refused)).toContain(`: url ${problem}.`);
  });

  test('leads to another database of the same server', () => {
    for (const [text, there] of [
      ['postgresql://u:p@/d?host=/run/pg', 'postgresql://u:p@localhost/postgres?host=/run/pg'],
      ['postgresql://u:p@h:5433/d', 'postgresql://u:p@h:5433/postgres'],
      ['postgresql://u:p@[::1%25lo]/d', 'postgresql://u:p@localhost/postgres?host=%3A%3A1%25lo'],
    ]) {
      expect(withDatabase(understood(text!), 'postgres')).toBe(there);
    }
  });
});
