import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type PaymentEventsDataSourceSettings } from '../../src/connection/data-source-settings';
import { createProgram } from '../../src/cli/program';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { translateError } from '../../src/database/translate-error';
import { ConfigurationError, DatabaseUnavailableError } from '../../src/errors';
import { SessionWatch } from '../../src/migrator/session-watch';
import { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../src/testing';
import { Authority } from '../support/database/authority';
import { quietDataSource } from '../support/database/quiet-data-source';
import { TlsServer } from '../support/database/tls-server';
import { useTestDatabase } from '../support/database/use-test-database';
import { programHere } from '../support/processes/cli';
import { until } from '../support/relay/relayed';
import { failureOf, within } from '../support/processes/within';

/** What a DataSource of these settings says when it is open; what it fails with, thrown. */
async function opened(
  settings: PaymentEventsDataSourceSettings,
): Promise<{ user: string; ssl: boolean; database: string }> {
  const dataSource = await quietDataSource(settings);
  try {
    const [row] = await dataSource.query<{ user: string; ssl: boolean; database: string }[]>(
      'SELECT session_user AS user, current_database() AS database, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    );
    return row!;
  } finally {
    await dataSource.destroy();
  }
}

const shown = (error: unknown) => inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error);

describe('a server that lets only encrypted connections in', () => {
  let server: TlsServer;
  let authority: Authority;
  let folder: string;
  let caFile: string;
  const parts = (more: Partial<PaymentEventsDataSourceSettings> = {}): PaymentEventsDataSourceSettings => ({
    ...{ host: 'localhost', port: server.port, database: 'postgres', user: 'postgres', password: 'password' },
    ...more,
  });
  /** As the command line is told, all of it by variables; it ends with 2 in a database without migrations. */
  const status = (variables: Record<string, string>) => {
    const login = { PGDATABASE: 'postgres', PGUSER: 'postgres', PGPASSWORD: 'password' };
    const env = { DATABASE_URL: '', PGHOST: 'localhost', PGPORT: `${server.port}`, ...login, ...variables };
    return programHere(createProgram(), ['status'], env);
  };

  beforeAll(async () => {
    server = await TlsServer.start();
    authority = await Authority.create();
    folder = mkdtempSync(join(tmpdir(), 'certificates '));
    caFile = join(folder, 'authority.crt');
    writeFileSync(caFile, authority.certificate);
  });
  beforeEach(async () => server.present(await authority.sign('localhost')));
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await server.stop();
  });

  test('is reached where its authority is known, by text or by file, in code or by variables', async () => {
    const reached = { user: 'postgres', ssl: true, database: 'postgres' };
    expect(await opened(parts({ ssl: { ca: authority.certificate } }))).toEqual(reached);
    expect(await opened(parts({ ssl: { caFile } }))).toEqual(reached);
    expect(await opened(parts({ ssl: 'no-verify' }))).toEqual(reached);
    expect(await opened({ url: server.url(), ssl: { ca: authority.certificate } })).toEqual(reached);
    const variables = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: caFile };
    expect(await status(variables)).toMatchObject({ stderr: '', exitCode: 2 });
    expect(await status({ ...variables, PGSSLMODE: 'no-verify' })).toMatchObject({ stderr: '', exitCode: 2 });
  });

  test.each<[string, RegExp, RegExp, () => Promise<PaymentEventsDataSourceSettings>]>([
    [
      'of an authority that nobody knows',
      /is not trusted \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\)/,
      /PGSSLROOTCERT/,
      () => Promise.resolve(parts({ ssl: 'verify-full' })),
    ],
    [
      'that an authority of the same name has signed',
      /is not trusted \(CERT_SIGNATURE_FAILURE\)/,
      /PGSSLROOTCERT/,
      async () => parts({ ssl: { ca: (await Authority.create()).certificate } }),
    ],
    [
      'for another name',
      /is not trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)/,
      /for another name: connect by a name that is in it/,
      async () => {
        await server.present(await authority.sign('db.internal'));
        return parts({ ssl: { ca: authority.certificate } });
      },
    ],
    [
      'that has expired',
      /is not trusted \(CERT_HAS_EXPIRED\)/,
      /It has expired: the server needs a new one/,
      async () => {
        await server.present(await authority.sign('localhost', new Date(Date.now() - 3_600_000)));
        return parts({ ssl: { caFile } });
      },
    ],
  ])('is not trusted with a certificate %s, and says what would help', async (_what, problem, remedy, given) => {
    const settings = await given();
    const failure = translateError(await failureOf(opened(settings)));
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect((failure as Error).message).toMatch(problem);
    expect((failure as Error).message).toMatch(remedy);
    expect(shown(failure)).not.toMatch(/password'|PRIVATE/);
    if (typeof settings.ssl === 'object')
      writeFileSync(join(folder, 'given.crt'), settings.ssl.ca ?? authority.certificate);
    const variables: Record<string, string> =
      typeof settings.ssl === 'object' ? { PGSSLROOTCERT: join(folder, 'given.crt') } : {};
    const { stderr, exitCode } = await status({ PGSSLMODE: 'verify-full', ...variables });
    expect(stderr).toMatch(problem);
    expect(stderr).toMatch(remedy);
    expect(exitCode).toBe(3);
  });

  test('is reached by the certificates that are in the file at each new connection, also after one that failed', async () => {
    const replaced = join(folder, 'replaced.crt');
    writeFileSync(replaced, authority.certificate);
    const dataSource = await quietDataSource(parts({ ssl: { caFile: replaced }, poolSize: 1 }));
    try {
      const next = await Authority.create();
      await server.present(await next.sign('localhost'));
      await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'payment-events-db'`);
      // Until the pool has seen that its connection has ended, and makes another.
      let refused: unknown;
      await until('the certificate is refused', async () => {
        refused = await dataSource.query('SELECT 1').catch((error: unknown) => error);
        return (refused as { code?: string }).code === 'CERT_SIGNATURE_FAILURE';
      });
      rmSync(replaced);
      // A typed error, and not one out of the pool's timer that would end the process.
      const gone = await failureOf(dataSource.query('SELECT 1'));
      expect(translateError(gone)).toBeInstanceOf(DatabaseUnavailableError);
      expect((translateError(gone) as Error).message).toMatch(/cannot be read any more \(ENOENT\)/);
      writeFileSync(replaced, next.certificate);
      expect(await dataSource.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    } finally {
      await dataSource.destroy();
    }
  });

  test('is logged in to by a certificate and its key, by their files', async () => {
    const { certificate, key } = await authority.sign('certified');
    const [certFile, keyFile] = [join(folder, 'client.crt'), join(folder, 'client.key')];
    writeFileSync(certFile, certificate);
    writeFileSync(keyFile, key);
    await server.query('CREATE ROLE certified LOGIN; GRANT USAGE ON SCHEMA public TO certified');
    await server.lets('hostssl all certified all cert', authority.certificate);
    const login = parts({ user: 'certified', password: undefined });
    const reached = { user: 'certified', ssl: true, database: 'postgres' };
    expect(await opened({ ...login, ssl: { caFile, certFile, keyFile } })).toEqual(reached);
    const failure = await failureOf(opened({ ...login, ssl: { caFile } }));
    expect(failure).toMatchObject({ code: '28000' });
    const variables = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: caFile, PGSSLCERT: certFile, PGSSLKEY: keyFile };
    expect(await status({ ...variables, PGUSER: 'certified', PGPASSWORD: '' })).toMatchObject({ exitCode: 2 });
    const dataSource = new PaymentEventsDataSource(
      createDataSourceOptions({ ...login, ssl: { caFile, certFile, keyFile } }),
    );
    expect(shown(dataSource.options)).not.toContain(readFileSync(keyFile, 'utf8').split('\n')[1]);
  });
});

describe('a server without TLS', () => {
  const database = useTestDatabase();
  const ROLE = `rotated_${process.pid}`;
  const parts = (more: Partial<PaymentEventsDataSourceSettings> = {}): PaymentEventsDataSourceSettings => {
    const { hostname: host, port } = new URL(database.url);
    return { host, port: Number(port), database: database.name, user: ROLE, ...more };
  };
  const setPassword = (password: string) => database.query(`ALTER ROLE ${ROLE} PASSWORD '${password}'`);
  beforeAll(async () => {
    await database.query(`CREATE ROLE ${ROLE} LOGIN PASSWORD 'first'`);
    await database.query(`GRANT USAGE ON SCHEMA public TO ${ROLE}`);
  });
  beforeEach(() => setPassword('first'));
  afterAll(() => database.query(`DROP OWNED BY ${ROLE}; DROP ROLE ${ROLE}`));

  test('says so where it is asked for', async () => {
    const failure = translateError(await failureOf(opened(parts({ password: 'first', ssl: 'verify-full' }))));
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect((failure as Error).message).toMatch(/^The server offers no TLS\. .*ssl: false/);
    expect(await opened(parts({ password: 'first', ssl: false }))).toMatchObject({ user: ROLE, ssl: false });
  });

  test('is asked by no PG variable for what the settings have said', async () => {
    const { port } = parts();
    const env = {
      PGHOST: 'nowhere.invalid',
      PGDATABASE: 'nothing',
      PGUSER: 'nobody',
      PGPASSWORD: 'wrong',
      PGPORT: '1',
    };
    await withEnvironment({ ...env, PGAPPNAME: 'theirs', PGSERVICE: 'nowhere' }, async () => {
      expect(await opened(parts({ password: 'first' }))).toMatchObject({ user: ROLE, database: database.name });
      const dataSource = await quietDataSource(parts({ password: 'first', port }));
      expect(await dataSource.query('SHOW application_name')).toEqual([{ application_name: 'payment-events-db' }]);
      await dataSource.destroy();
    });
    // What they leave out is taken, as by PostgreSQL's own programs.
    await withEnvironment({ PGUSER: ROLE, PGPASSWORD: 'first' }, async () => {
      expect(await opened(parts({ user: undefined }))).toMatchObject({ user: ROLE });
    });
  });

  describe('a function for the password', () => {
    test('is asked once for each new connection, and what it gives may change', async () => {
      const given: string[] = [];
      const password = () => Promise.resolve(given.at(-1)!);
      const asked = jest.fn(password);
      given.push('first');
      const dataSource = await quietDataSource(parts({ password: asked, poolSize: 4 }));
      try {
        expect(asked).toHaveBeenCalledTimes(1);
        for (let round = 0; round < 3; round++) await dataSource.query('SELECT 1');
        expect(asked).toHaveBeenCalledTimes(1);
        await setPassword('second');
        given.push('second');
        await Promise.all(Array.from({ length: 4 }, () => dataSource.query('SELECT pg_sleep(0.2)')));
        expect(asked).toHaveBeenCalledTimes(4);
        expect(shown(dataSource.options)).not.toMatch(/first|second/);
      } finally {
        await dataSource.destroy();
      }
    });

    test('stands beside a URL that has none', async () => {
      const url = database.url.replace(/\/\/.*@/, `//${ROLE}@`);
      expect(await opened({ url, password: () => 'first' })).toMatchObject({ user: ROLE });
      expect(await opened({ url, password: 'first' })).toMatchObject({ user: ROLE });
    });

    test('that throws is a typed error which may pass, without a word of what it said', async () => {
      let isThere = false;
      const password = () => {
        if (isThere) return 'first';
        throw new RangeError('the vault said: hunter2');
      };
      const failure = await failureOf(opened(parts({ password })));
      expect(failure).toBeInstanceOf(DatabaseUnavailableError);
      expect(failure).toMatchObject({ retryable: true, reason: 'password' });
      expect((failure as Error).message).toBe(
        'The function that gives the password has failed (RangeError). Try again, or correct what it needs.',
      );
      expect(shown(failure)).not.toContain('hunter2');
      isThere = true;
      expect(await opened(parts({ password }))).toMatchObject({ user: ROLE });
    });

    test.each([
      ['nothing', undefined],
      ['no text', 5],
      ['an empty text', ''],
    ])('that gives %s is to be corrected', async (_what, value) => {
      const failure = await failureOf(opened(parts({ password: () => value as string })));
      expect(failure).toBeInstanceOf(ConfigurationError);
      expect((failure as Error).message).toMatch(/^The function that gives the password must give text/);
    });

    test('that hangs ends at connectTimeoutMs, and says so', async () => {
      const hangs = () => new Promise<string>(() => undefined);
      const failure = await within(
        20_000,
        'the end',
        failureOf(opened(parts({ password: hangs, connectTimeoutMs: 300 }))),
      );
      expect(failure).toBeInstanceOf(DatabaseUnavailableError);
      expect((failure as Error).message).toMatch(/^The function that gives the password did not answer within/);
    });

    test('fails an operation by the same errors, and the pool goes on when it answers', async () => {
      let answer: () => string | Promise<string> = () => 'first';
      const settings = parts({ password: () => answer(), poolSize: 2, connectTimeoutMs: 500 });
      const dataSource = await quietDataSource(settings);
      try {
        const held = dataSource.query('SELECT pg_sleep(3)');
        for (const broken of [() => Promise.reject(new Error('hunter2')), () => new Promise<string>(() => undefined)]) {
          answer = broken;
          const failure = await failureOf(dataSource.transaction((manager) => manager.query('SELECT 1')));
          expect(failure).toMatchObject({ code: 'DATABASE_UNAVAILABLE', reason: 'password', retryable: true });
        }
        answer = () => 'first';
        expect(await dataSource.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
        await held;
      } finally {
        await dataSource.destroy();
      }
    });

    test('whose password the server does not take is told as the login that it is', async () => {
      const failure = await failureOf(opened(parts({ password: () => 'hunter2' })));
      expect(failure).toMatchObject({ code: '28P01' });
      expect(shown(translateError(failure))).not.toContain('hunter2');
    });

    test('is asked for the session that watches a migration as well', async () => {
      const password = jest.fn(() => 'first');
      const dataSource = await quietDataSource(parts({ password, poolSize: 1 }));
      const queryRunner = dataSource.createQueryRunner();
      const watch = await SessionWatch.start(queryRunner, () => undefined);
      try {
        await until('both are there', async () => {
          const sessions = await database.query(
            'SELECT FROM pg_stat_activity WHERE usename = $1 AND datname IS NOT NULL',
            [ROLE],
          );
          return sessions.length === 2;
        });
        expect(password).toHaveBeenCalledTimes(2);
      } finally {
        await watch.stop();
        await queryRunner.release();
        await dataSource.destroy();
      }
    });
  });
});

describe('a server at a Unix socket', () => {
  test('is reached by the folder of the socket, in code, by variables and by a function', async () => {
    const folder = new TemporaryDirectory();
    try {
      const server = await EmbeddedServer.start({
        dataDirectory: folder.dataDirectory,
        settings: { ...UNSAFE_BUT_FAST, unix_socket_directories: '/tmp', listen_addresses: '127.0.0.1' },
        notice: () => undefined,
      });
      const parts = { host: '/tmp', port: server.port, database: 'postgres', user: 'postgres' };
      expect(await opened({ ...parts, password: 'password' })).toMatchObject({ user: 'postgres', ssl: false });
      expect(await opened({ ...parts, password: () => 'password' })).toMatchObject({ user: 'postgres' });
      const login = { PGDATABASE: 'postgres', PGUSER: 'postgres', PGPASSWORD: 'password' };
      // Nothing leaves the machine: no TLS is asked for, in production neither.
      const env = { DATABASE_URL: '', PGHOST: '/tmp', PGPORT: `${server.port}`, ...login, NODE_ENV: 'production' };
      expect(await programHere(createProgram(), ['status'], env)).toMatchObject({ stderr: '', exitCode: 2 });
    } finally {
      await folder.remove();
    }
  });
});

async function withEnvironment(env: Record<string, string>, work: () => Promise<void>): Promise<void> {
  const before = { ...process.env };
  Object.assign(process.env, env);
  try {
    await work();
  } finally {
    for (const name of Object.keys(env)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}
