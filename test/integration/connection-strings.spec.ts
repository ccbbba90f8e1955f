import { type DataSource } from 'typeorm';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { createDatabaseIfMissing } from '../../src/database/create-database';
import { createProgram } from '../../src/cli/program';
import { readConfig } from '../../src/config';
import { migrate } from '../../src/migrator/migrator';
import { cliProcess, programHere } from '../support/processes/cli';
import { quietDataSource } from '../support/database/quiet-data-source';
import { CERTIFICATE as CERTIFICATE_FILE, TlsServer } from '../support/database/tls-server';
import { useTestDatabase } from '../support/database/use-test-database';
import { within } from '../support/processes/within';

/** As a URL has it: the path may have spaces. */
const CERTIFICATE = encodeURIComponent(CERTIFICATE_FILE);

/** `status`, as every command connects; it ends with 2 in a database without migrations. */
const status = (url: string) => programHere(createProgram(), ['status'], { DATABASE_URL: url });
const says = (text: RegExp) => ({ stdout: '', stderr: expect.stringMatching(text) as string });

describe('a server that lets only encrypted connections in', () => {
  let server: TlsServer;
  beforeAll(async () => {
    server = await TlsServer.start();
  });
  afterAll(() => server.stop());

  const reached = { stderr: '', exitCode: 2 };

  test('is reached by a client that knows its certificate, or does not want to', async () => {
    for (const parameters of [
      `sslrootcert=${CERTIFICATE}`,
      `sslrootcert=${CERTIFICATE}&sslmode=verify-full`,
      `sslrootcert=${CERTIFICATE}&sslmode=require`,
      `sslrootcert=${CERTIFICATE}&sslnegotiation=postgres`,
      'sslmode=no-verify',
      'ssl=no-verify',
      'sslmode=require&uselibpqcompat=true',
      `sslmode=verify-ca&uselibpqcompat=true&sslrootcert=${CERTIFICATE}`,
    ]) {
      expect({ parameters, ...(await status(server.url(parameters))) }).toMatchObject({ parameters, ...reached });
    }
  });

  test('says that it wants TLS, and nothing about the password', async () => {
    for (const parameters of ['', 'sslmode=disable', 'ssl=false', 'ssl=0']) {
      const { stderr, exitCode } = await status(server.url(parameters));
      expect(stderr).toMatch(/^The server at localhost:\d+ lets no unencrypted connection of user postgres/);
      expect(stderr).toContain('sslmode=verify-full');
      expect(stderr).not.toContain('password');
      expect(exitCode).toBe(3);
    }
  });

  test('is not trusted for its word alone: a certificate that nobody known has signed, or for another name', async () => {
    for (const parameters of ['ssl=true', 'sslmode=require', 'sslmode=prefer', 'sslrootcert=system']) {
      expect(await status(server.url(parameters))).toMatchObject({
        ...says(
          /^The certificate of the server at localhost:\d+ is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)\.\n.*sslrootcert/,
        ),
        exitCode: 3,
      });
    }
    expect(await status(server.url(`sslrootcert=${CERTIFICATE}`, { hostname: '127.0.0.1' }))).toMatchObject({
      ...says(/is not trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)/),
      exitCode: 3,
    });
  });

  test('with TLS, a wrong password is a wrong password', async () => {
    expect(await status(server.url('sslmode=no-verify', { password: 'wrong' }))).toMatchObject({
      ...says(/refuses the login of user postgres \(28P01\)\.\nCheck user and password/),
      exitCode: 3,
    });
  });

  test('a URL without a password says so, and does not hang until the server gives up', async () => {
    const url = server.url('sslmode=no-verify', { password: '' });
    const wanted = {
      ...says(/asks user postgres for a password, and none is set\.\nPut it into DATABASE_URL/),
      exitCode: 3,
    };
    // The process has half as long as the server, which waits for 60 s.
    expect(await cliProcess(url, ['status'])).toMatchObject(wanted);
    await expect(createDatabaseIfMissing(url)).rejects.toThrow('client password must be a string');
    const once = new PaymentEventsDataSource(createDataSourceOptions({ url }));
    await expect(once.initialize()).rejects.toThrow('client password must be a string');
    await within(30_000, 'the connection', server.noSessions());
  });
});

describe('a server without TLS', () => {
  const database = useTestDatabase({ empty: true });
  const withParameters = (parameters: string) => `${database.url}?${parameters}`;

  test('is reached without, and says that it has none where it is asked for', async () => {
    for (const parameters of ['ssl=false', 'ssl=0', 'sslmode=disable']) {
      expect(await status(withParameters(parameters))).toMatchObject({ stderr: '', exitCode: 2 });
    }
    for (const parameters of ['sslmode=require', 'sslmode=verify-full', 'ssl=true', `sslrootcert=${CERTIFICATE}`]) {
      expect(await status(withParameters(parameters))).toMatchObject({
        ...says(/ offers no TLS\.\n.*sslmode=disable/),
        exitCode: 3,
      });
    }
  });

  test('a file that is missing is named by its parameter, before anything is connected to', async () => {
    for (const parameters of ['sslrootcert=/nowhere/at/all', 'sslcert=/nowhere/at/all', 'sslkey=/nowhere/at/all']) {
      const name = parameters.split('=')[0];
      expect(await status(withParameters(parameters))).toMatchObject({
        ...says(new RegExp(`^DATABASE_URL has an ${name} that names a file which cannot be read \\(ENOENT\\)\\.\n$`)),
        exitCode: 64,
      });
    }
  });

  test('a database that takes no connections is no fault of the command', async () => {
    const url = database.url.replace(database.name, 'template0');
    expect(await status(url)).toMatchObject({
      ...says(/accepts no connection: database "template0" .* \(55000\)/),
      exitCode: 3,
    });
  });

  test('several hosts, and parameters that would be passed over, are refused in a sentence', async () => {
    for (const [url, sentence] of [
      ['postgresql://u:hunter2@h1:5432,h2:5432/d', /^DATABASE_URL names several hosts/],
      [withParameters('target_session_attrs=read-write'), /^DATABASE_URL has target_session_attrs/],
      [withParameters('schema=payments'), /^DATABASE_URL has the parameter schema/],
    ] as const) {
      expect(await status(url)).toMatchObject({ ...says(sentence), exitCode: 64 });
    }
  });
});

describe('a database with a name of special characters', () => {
  const database = useTestDatabase({ empty: true });
  const named = (name: string) => `${database.name}${name}`;
  const urlOf = (name: string) => database.url.replace(database.name, encodeURIComponent(named(name)));
  const plain = useTestDatabase();
  const differences = async (dataSource: DataSource) =>
    (await dataSource.driver.createSchemaBuilder().log()).upQueries.map(({ query }) => query);
  const NAMES = [' a@b:c&d=e+f', '%41"x\'é'];
  afterAll(async () => {
    for (const name of NAMES) await database.query(`DROP DATABASE IF EXISTS "${named(name).replaceAll('"', '""')}"`);
  });

  test.each(NAMES)('is made, migrated and compared: %s', async (name) => {
    const url = urlOf(name);
    expect(await createDatabaseIfMissing(readConfig({ DATABASE_URL: url }).databaseUrl)).toBe(true);
    const dataSource = await quietDataSource({ url });
    try {
      expect(await dataSource.query('SELECT current_database() AS name')).toEqual([{ name: named(name) }]);
      await migrate(dataSource, { say: () => undefined });
      expect(await differences(dataSource)).toEqual(await differences(await plain.dataSource()));
    } finally {
      await dataSource.destroy();
    }
    expect(await status(url)).toMatchObject({ stderr: '', exitCode: 0 });
  });

  test.each(['/x', '?x', '#x'])('is refused where pg cannot connect to it: %s', async (name) => {
    expect(await status(urlOf(name))).toMatchObject({ ...says(/whose name has \/ \? or # in it/), exitCode: 64 });
  });
});
