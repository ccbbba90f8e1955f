import { adopt, type PaymentEventsDataSource } from '../../src';
import { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../src/testing';
import { legacyTimeZone } from '../../src/migrator/legacy-time-zone';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

describe('the zone of the old rows', () => {
  const database = useTestDatabase({ empty: true });
  let dataSource: PaymentEventsDataSource;
  beforeAll(async () => {
    await loadAlembicDatabase(database);
    dataSource = await quietDataSource({ url: database.url });
  });
  afterAll(() => dataSource.destroy());

  /** A new session, since those that are open keep what they began with. */
  async function adoptAnew(legacyTimeZone?: string) {
    await dataSource.destroy();
    await dataSource.initialize();
    return await adopt(dataSource, { dryRun: true, legacyTimeZone });
  }

  test.each(['UTC', 'Etc/UTC', 'etc/uct', 'GMT', 'GMT+0', 'Zulu', 'Universal'])(
    'is UTC where the database says %s',
    async (zone) => {
      await database.query(`ALTER DATABASE ${database.name} SET TimeZone = '${zone}'`);
      expect(await adoptAnew()).toMatchObject({ legacyTimeZone: 'UTC' });
    },
  );

  // In winter the clocks of London show UTC.
  test.each(['America/New_York', 'Europe/London', 'Etc/GMT+1', '+03:00'])(
    'is to be told where the database says %s',
    async (zone) => {
      await database.query(`ALTER DATABASE ${database.name} SET TimeZone = '${zone}'`);
      expect(await failureOf(adoptAnew())).toMatchObject({
        code: 'LEGACY_TIME_ZONE',
        message: expect.stringMatching(
          new RegExp(`^  database ${database.name}: .+\n.*say in which zone they are`, 'm'),
        ) as string,
      });
      expect(await database.query(`SELECT to_regclass('payment_events_db_migrations') AS history`)).toEqual([
        { history: null },
      ]);
    },
  );

  test.each([
    ['europe/berlin', 'Europe/Berlin'],
    ['utc', 'UTC'],
    ['Etc/Greenwich', 'UTC'],
  ])('is what is told, whatever the database says: %s', async (told, zone) => {
    await database.query(`ALTER DATABASE ${database.name} SET TimeZone = 'Asia/Kolkata'`);
    expect(await adoptAnew(told)).toMatchObject({ legacyTimeZone: zone });
  });

  test.each([
    ['Mars/Olympus', 'INVALID_COMMAND'],
    ['CEST', 'INVALID_COMMAND'],
    ["'; DROP TABLE outbox; --", 'INVALID_COMMAND'],
    ['', 'CONFIGURATION'],
  ])('cannot be %p', async (told, code) => {
    expect(await failureOf(adoptAnew(told))).toMatchObject({ code });
  });

  test('is to be told where one role alone has another', async () => {
    const role = `legacy_of_${database.name}`;
    await database.query(`ALTER DATABASE ${database.name} SET TimeZone = 'UTC'; CREATE ROLE ${role}`);
    try {
      await database.query(`ALTER ROLE ${role} IN DATABASE ${database.name} SET TimeZone = 'America/Denver'`);
      const place = `role ${role} in database ${database.name}: America/Denver`;
      expect(await failureOf(adoptAnew())).toMatchObject({ message: expect.stringContaining(place) as string });
    } finally {
      await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });
});

describe('a server in another zone', () => {
  const folder = new TemporaryDirectory();
  let url: string;
  beforeAll(async () => {
    const settings = { ...UNSAFE_BUT_FAST, timezone: 'Europe/Berlin' };
    ({ url } = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, settings, notice: () => undefined }));
  });
  afterAll(() => folder.remove());

  /** What is found in a new session after these statements, or the reason why nothing is. */
  async function zoneAfter(...statements: string[]): Promise<string> {
    for (const statement of statements) await inSession((session) => session.query(statement));
    return await inSession((session) => legacyTimeZone(session, undefined).catch((error: Error) => error.message));
  }
  async function inSession<T>(use: (session: PaymentEventsDataSource) => Promise<T>): Promise<T> {
    const session = await quietDataSource({ url });
    return await use(session).finally(() => session.destroy());
  }

  test('is seen, unless all sessions of the database begin in UTC', async () => {
    expect(await zoneAfter()).toContain('  the server: Europe/Berlin\n');
    expect(await zoneAfter(`ALTER DATABASE postgres SET TimeZone = 'UTC'`)).toBe('UTC');
    expect(await zoneAfter(`ALTER DATABASE postgres RESET TimeZone`, `ALTER ROLE ALL SET TimeZone = 'UTC'`)).toBe(
      'UTC',
    );
    expect(await zoneAfter(`ALTER ROLE ALL SET TimeZone = 'Asia/Tokyo'`)).toContain('ALTER ROLE ALL: Asia/Tokyo');
    expect(await zoneAfter(`ALTER ROLE ALL RESET TimeZone`)).toContain('the server: Europe/Berlin');
  });

  test('is not overlooked behind a setting of this session or this role alone', async () => {
    expect(await zoneAfter(`ALTER ROLE postgres SET TimeZone = 'UTC'`)).toMatch(
      /hides the TimeZone that other sessions begin with \(user\)/,
    );
    expect(await zoneAfter(`ALTER DATABASE postgres SET TimeZone = 'UTC'`)).toBe('UTC');
    await zoneAfter(`ALTER DATABASE postgres RESET TimeZone`, `ALTER ROLE postgres RESET TimeZone`);
    url += '?options=-c%20TimeZone%3DUTC';
    expect(await zoneAfter()).toMatch(/hides the TimeZone that other sessions begin with \(client\)/);
  });
});
