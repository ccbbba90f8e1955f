import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { adoptCommand } from '../../src/cli/commands/adopt';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { cliHere, cliProcess, type Finished } from '../support/processes/cli';
import { digestLegacyColumns, lastingDigests } from '../support/legacy/legacy-fixture';
import { commandsIn } from '../support/docs/doc-page';
import { useTestDatabase } from '../support/database/use-test-database';

const read = (path: string) => readFileSync(join(__dirname, '../..', path), 'utf8');
const page = read('docs/how-to/take-over-from-alembic.md');
const blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, code]) => ({
  language: language!,
  code: code!,
}));
const MIRROR = ['LegacySchema1795367318204', 'LegacyMockProcessor1795367371652'];

test('the page quotes what is said', () => {
  const sources = ['adopt', 'alembic', 'legacy-time-zone'].map((file) => read(`src/migrator/${file}.ts`)).join('\n');
  const cells = page.split('\n').flatMap((row) => /^\| (`.*?) \|/.exec(row)?.[1] ?? []);
  const quoted = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text!));
  expect(quoted).toHaveLength(4);
  expect(quoted.filter((text) => !sources.includes(text))).toEqual([]);
});

describe('who follows docs/how-to/take-over-from-alembic.md', () => {
  const database = useTestDatabase({ empty: true });
  beforeAll(() => loadAlembicDatabase(database));

  /** What each command ends with, in their order on the page. The made-up rows are pending after 3 and damaged in 4. */
  const ENDS: [command: string, exitCode: number, says: RegExp][] = [
    ['adopt --dry-run', 0, /^Would be recorded as applied: LegacyMockProcessor1795367371652\.$/m],
    ['adopt --dry-run --legacy-timezone America/New_York', 0, /would be taken for America\/New_York/],
    ['adopt', 0, /^Recorded as applied: LegacyMockProcessor1795367371652\.$/m],
    ['migrate --to ExpandIndexes', 0, /Applied ExpandIndexes1795367683950/],
    ['status', 2, /ContractTimestamps1795367842073 +pending/],
    ['migrate', 0, /Applied GuardPaymentEvents1795368694337/],
    ['check', 0, /^The schema is that of the newest migration\.$/m],
    ['verify', 1, /3 differ\./],
    ['revert --to LegacyMockProcessor', 0, /Reverted ExpandColumns1795367529418/],
    ['check', 0, /^The schema is that of Alembic revision 09c2b295afcd\.$/m],
  ];

  test('comes to the newest schema and back, without a row lost on the way', async () => {
    const done: string[] = [];
    let advice = '';
    for (const { language, code } of blocks) {
      if (language === 'sql') {
        await database.query(code);
        continue;
      }
      for (const command of commandsIn(code).map((line) => line.replace('npx payment-events-db ', ''))) {
        const [expected, exitCode, says] = ENDS[done.length]!;
        expect(command).toBe(expected);
        const here = command.startsWith('check')
          ? [...command.split(' '), '--role-prefix', database.name]
          : command.split(' ');
        const { stdout, stderr, exitCode: ended } = await cliProcess(database.url, here);
        expect({ command, stdout, stderr, ended }).toMatchObject({
          stdout: expect.stringMatching(says) as string,
          ended: exitCode,
        });
        if (command === 'adopt') advice = stdout;
        done.push(command);
        expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
      }
    }
    expect(done).toHaveLength(ENDS.length);
    // What adopt names as the next commands is what the page goes on with.
    expect([...advice.matchAll(/payment-events-db (.*)/g)].map(([, command]) => command)).toEqual(
      done.filter((command) => command.startsWith('migrate')),
    );
    expect(await database.query('SELECT version_num FROM alembic_version')).toEqual([{ version_num: '09c2b295afcd' }]);
    const tables = await database.query(`SELECT count(*)::int AS tables FROM pg_tables WHERE schemaname = 'public'`);
    expect(tables).toEqual([{ tables: 7 }]);
  });
});

describe('payment-events-db adopt', () => {
  const database = useTestDatabase({ empty: true });
  beforeAll(() => loadAlembicDatabase(database));
  const here = (...args: string[]): Promise<Finished> => cliHere(database.url, adoptCommand(), args);

  test('ends with 4 and says in what the schema differs', async () => {
    await database.query('ALTER TABLE outbox ALTER COLUMN message_type TYPE text');
    const { stdout, stderr, exitCode } = await cliProcess(database.url, ['adopt']);
    expect(stdout).toBe('');
    expect(stderr.replace(/^Schema .*\n/, '')).toBe(
      'The schema is not that of Alembic revision 09c2b295afcd (-), but has (+):\n' +
        'different: table outbox: column message_type\n' +
        '  - column message_type character varying(100) not null\n' +
        '  + column message_type text not null\n' +
        'It was changed by hand. Change it back, then run this again.\n',
    );
    expect(exitCode).toBe(4);
    await database.query('ALTER TABLE outbox ALTER COLUMN message_type TYPE varchar(100)');
  });

  test('ends with 4 where the zone is not clear, with 64 where it does not exist, and with 64 and the help on nonsense', async () => {
    await database.query(`ALTER DATABASE ${database.name} SET TimeZone = 'America/New_York'`);
    expect(await here()).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining(`database ${database.name}: America/New_York`) as string,
    });
    expect(await here('--legacy-timezone', 'Mars')).toMatchObject({
      exitCode: 64,
      stderr: expect.stringContaining('must be a name of pg_timezone_names') as string,
    });
    expect(await here('--nonsense')).toMatchObject({
      exitCode: 64,
      stderr: expect.stringContaining('Usage: payment-events-db adopt') as string,
    });
  });

  test('--json says what was recorded; again, that there is nothing to adopt', async () => {
    await database.query('GRANT SELECT ON outbox TO PUBLIC');
    const adopted = await cliProcess(database.url, ['adopt', '--json', '--legacy-timezone', 'america/new_york']);
    const zone = { legacyTimeZone: 'America/New_York' };
    expect(JSON.parse(adopted.stdout)).toEqual({
      ...{ outcome: 'adopted', revision: '09c2b295afcd', recorded: MIRROR, ...zone },
      grants: ['table outbox: grant SELECT to PUBLIC'],
      kept: [],
      obstacles: [],
      legacyClocks: [
        { column: 'created_at', zone: 'America/New_York', compared: 152 },
        { column: 'completed_at', zone: 'America/New_York', compared: 111 },
      ],
    });
    expect(adopted).toMatchObject({ stderr: expect.not.stringContaining('error') as string, exitCode: 0 });
    const [again, json] = [await here(), await here('--json')];
    expect(again).toMatchObject({
      stdout: expect.stringContaining('there is nothing to adopt') as string,
      exitCode: 0,
    });
    expect(JSON.parse(json.stdout)).toEqual({
      outcome: 'adopted_already',
      revision: null,
      recorded: [],
      grants: [],
      kept: [],
      obstacles: [],
      legacyClocks: [],
      ...zone,
    });
  });

  test('--dry-run ends with 1 and tells what would stop a later step', async () => {
    await database.query(`
      DROP TABLE payment_events_db_migrations;
      CREATE PUBLICATION feed FOR TABLE outbox (id, created_at)`);
    expect(await here('--dry-run', '--legacy-timezone', 'America/New_York')).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(
        /^Would stop ContractTimestamps\d+: publication of table outbox in publication feed depends on outbox\.created_at\.$/m,
      ) as string,
    });
    await database.query('DROP PUBLICATION feed');
  });
});

describe('a migration that fails all the same', () => {
  const database = useTestDatabase({ empty: true });

  test('says first what stopped it, and the statement last', async () => {
    await loadAlembicDatabase(database);
    await database.query(`
      CREATE FUNCTION stop_it() RETURNS event_trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF current_query() ~ 'fillfactor = 80' THEN
          RAISE EXCEPTION 'cannot do this' USING ERRCODE = 'dependent_objects_still_exist', DETAIL = 'view report depends on it';
        END IF;
      END $$;
      CREATE EVENT TRIGGER stop_it ON ddl_command_end EXECUTE FUNCTION stop_it()`);
    await cliProcess(database.url, ['adopt']);
    const { stderr, exitCode } = await cliProcess(database.url, ['migrate']);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /failed\.\nThe database says: cannot do this: view report depends on it \(2BP01\)\.\nThe statement was:\nSET LOCAL[^]*fillfactor = 80/,
    );
  });
});
