import { checkCommand } from '../../src/cli/commands/check';
import { grantPrivileges } from '../../src/grants/grant-privileges';
import { compareSchema, findDrift } from '../../src/check/drift';
import { readExposures } from '../../src/check/exposures';
import { ROLES } from '../../src/grants/privileges';
import { cliHere } from '../support/processes/cli';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
beforeAll(() => roles.setUp());

const drift = async () => findDrift(await database.dataSource(), { rolePrefix: roles.prefix });

/** What somebody does, and what is said of it. $db, $api, $relay, $reader: the database, groups and a login. */
const OPENINGS: Record<string, [statement: string, object: string, says: { actual: string; remedy?: string }]> = {
  'guards that the whole database switches off': [
    `ALTER DATABASE $db SET session_replication_role = replica`,
    'database $db: setting session_replication_role',
    { actual: 'session_replication_role = replica', remedy: 'ALTER DATABASE $db RESET session_replication_role' },
  ],
  'guards that a service switches off': [
    `ALTER ROLE $worker SET session_replication_role = 'local'; ALTER ROLE $worker RESET ALL;
     ALTER ROLE $worker IN DATABASE $db SET session_replication_role = replica`,
    'role $worker in database $db: setting session_replication_role',
    {
      actual: 'session_replication_role = replica',
      remedy: 'ALTER ROLE $worker IN DATABASE $db RESET session_replication_role',
    },
  ],
  'guards that the owner switches off, in every database': [
    `ALTER ROLE $owner SET session_replication_role = replica`,
    'role $owner: setting session_replication_role',
    { actual: 'session_replication_role = replica', remedy: 'ALTER ROLE $owner RESET session_replication_role' },
  ],
  'a database that takes no writes': [
    `ALTER DATABASE $db SET default_transaction_read_only = yes`,
    'database $db: setting default_transaction_read_only',
    { actual: 'default_transaction_read_only = yes' },
  ],
  'a service that takes no writes': [
    `ALTER ROLE $worker SET default_transaction_read_only = on`,
    'role $worker: setting default_transaction_read_only',
    { actual: 'default_transaction_read_only = on' },
  ],
  'commits that a crash forgets': [
    `ALTER ROLE $worker SET synchronous_commit = off`,
    'role $worker: setting synchronous_commit',
    { actual: 'synchronous_commit = off' },
  ],
  'a service that becomes another role at login': [
    `ALTER ROLE $worker SET role = $owner`,
    'role $worker: setting role',
    { actual: 'role = $owner' },
  ],
  'the right to switch guards off': [
    `GRANT SET ON PARAMETER session_replication_role TO $apiGroup`,
    'parameter session_replication_role: grant SET to $apiGroup',
    { actual: 'grant SET to $apiGroup', remedy: 'REVOKE SET ON PARAMETER session_replication_role FROM $apiGroup' },
  ],
  'a group that logs in': [
    `ALTER ROLE $apiGroup LOGIN`,
    'role $apiGroup',
    { actual: 'LOGIN', remedy: 'ALTER ROLE $apiGroup NOLOGIN' },
  ],
  'a group that is a superuser and more': [
    `ALTER ROLE $relayGroup SUPERUSER CREATEDB REPLICATION`,
    'role $relayGroup',
    {
      actual: 'SUPERUSER, CREATEDB, REPLICATION',
      remedy: 'ALTER ROLE $relayGroup NOSUPERUSER NOCREATEDB NOREPLICATION',
    },
  ],
  'a group that is a member of another role': [
    `GRANT pg_monitor TO $readonlyGroup`,
    'role $readonlyGroup',
    { actual: 'member of pg_monitor', remedy: 'REVOKE pg_monitor FROM $readonlyGroup' },
  ],
  'a service that may create roles and reads past row security': [
    `ALTER ROLE $worker CREATEROLE BYPASSRLS`,
    'role $worker',
    { actual: 'CREATEROLE, BYPASSRLS' },
  ],
  'a person who reads everything': [
    `GRANT pg_read_all_data TO $reader`,
    'role $reader',
    { actual: 'member of pg_read_all_data' },
  ],
  'a service that may become the owner': [
    `CREATE ROLE $relay_2 LOGIN NOINHERIT IN ROLE $relayGroup, $owner`,
    'role $relay_2',
    { actual: 'member of $owner' },
  ],
  'tables that anybody may make': [
    `GRANT CREATE ON SCHEMA public TO PUBLIC`,
    'schema public: grant CREATE to PUBLIC',
    { actual: 'grant CREATE to PUBLIC', remedy: 'REVOKE CREATE ON SCHEMA public FROM PUBLIC' },
  ],
  'schemas that a service may make': [
    `GRANT CREATE ON DATABASE $db TO $worker`,
    'database $db: grant CREATE to $worker',
    { actual: 'grant CREATE to $worker', remedy: 'REVOKE CREATE ON DATABASE $db FROM $worker' },
  ],
  'a history that a service may rewrite': [
    `GRANT UPDATE ON payment_events_db_migrations TO $apiGroup`,
    'table payment_events_db_migrations: grant UPDATE to $apiGroup',
    { actual: 'grant UPDATE to $apiGroup', remedy: 'REVOKE UPDATE ON payment_events_db_migrations FROM $apiGroup' },
  ],
  'tables to come that everybody reads': [
    `ALTER DEFAULT PRIVILEGES FOR ROLE $owner IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC`,
    'default privileges of $owner: grant SELECT on tables to PUBLIC',
    {
      actual: 'grant SELECT on tables to PUBLIC',
      remedy: 'ALTER DEFAULT PRIVILEGES FOR ROLE $owner IN SCHEMA public REVOKE SELECT ON TABLES FROM PUBLIC',
    },
  ],
  'sequences to come that a service draws from': [
    `ALTER DEFAULT PRIVILEGES FOR ROLE $owner GRANT USAGE ON SEQUENCES TO $apiGroup`,
    'default privileges of $owner: grant USAGE on sequences to $apiGroup',
    {
      actual: 'grant USAGE on sequences to $apiGroup',
      remedy: 'ALTER DEFAULT PRIVILEGES FOR ROLE $owner REVOKE USAGE ON SEQUENCES FROM $apiGroup',
    },
  ],
  'code that runs as the user that migrates': [
    `CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
     CREATE EVENT TRIGGER "Audit" ON ddl_command_end EXECUTE FUNCTION audit()`,
    'event trigger "Audit"',
    { actual: 'on ddl_command_end: audit()' },
  ],
  'a publication of a table with tokens': [
    `CREATE PUBLICATION cdc FOR TABLE auth_request_state, outbox (id, created_at)`,
    'publication cdc: table auth_request_state',
    { actual: 'sends payment_token' },
  ],
};

const named = (text: string) =>
  text
    .replaceAll('$db', database.name)
    .replace(/\$(\w+)Group/g, (_, role: 'api') => roles.group(role))
    .replaceAll('$reader', roles.user('readonly'))
    .replace(/\$(owner|api|worker|relay)(?=\b|_)/g, (_, user: 'api') => roles.user(user));

test('a database as grants leaves it opens nothing, in the eyes of the owner and of every service', async () => {
  expect(await drift()).toEqual([]);
  for (const user of ['owner', 'api', 'readonly'] as const) {
    expect(await readExposures(await roles.as(user), roles.prefix)).toEqual([]);
  }
});

test.each(Object.entries(OPENINGS))(
  '%s: said, by its name, and nothing else',
  async (_what, [statement, object, says]) => {
    const queryRunner = (await database.dataSource()).createQueryRunner();
    await queryRunner.startTransaction();
    try {
      await queryRunner.query(named(statement));
      const found = await readExposures(queryRunner, roles.prefix);
      expect(found).toEqual([
        expect.objectContaining({ object: named(object), ...JSON.parse(named(JSON.stringify(says))) }) as unknown,
      ]);
      // What it advises takes it back.
      const { remedy } = found[0]!;
      if (!says.remedy) return;
      await queryRunner.query(remedy!);
      expect(await readExposures(queryRunner, roles.prefix)).toEqual([]);
    } finally {
      await queryRunner.rollbackTransaction();
      await queryRunner.release();
    }
  },
);

test.each([
  [`ALTER ROLE $reader SET default_transaction_read_only = on`, 'a person who only reads may read only'],
  [`ALTER DATABASE $db SET session_replication_role = origin`, 'a setting that changes nothing'],
  [`ALTER DATABASE $db SET default_transaction_isolation = serializable`, 'a default that every session replaces'],
  [`ALTER DATABASE $db SET work_mem = '8MB'`, 'a setting that is nobody else’s business'],
  [`CREATE PUBLICATION cdc FOR TABLE outbox (id, created_at)`, 'a publication of what everybody may see'],
  [`GRANT $apiGroup TO $relay`, 'a service of two roles'],
])('%s: nothing to say of it (%s)', async (statement) => {
  const queryRunner = (await database.dataSource()).createQueryRunner();
  await queryRunner.startTransaction();
  try {
    await queryRunner.query(named(statement));
    expect(await readExposures(queryRunner, roles.prefix)).toEqual([]);
  } finally {
    await queryRunner.rollbackTransaction();
    await queryRunner.release();
  }
});

describe('the command line', () => {
  const check = (...args: string[]) => cliHere(database.url, checkCommand(), ['--role-prefix', roles.prefix, ...args]);

  test('check prints what opens the tables, with what takes it back, and ends with 1', async () => {
    await database.query(`ALTER DATABASE ${database.name} SET session_replication_role = replica`);
    await database.query(`GRANT CREATE ON SCHEMA public TO PUBLIC`);
    expect(await check()).toEqual({
      stdout: [
        `unexpected: database ${database.name}: setting session_replication_role`,
        `  + session_replication_role = replica`,
        `    → ALTER DATABASE ${database.name} RESET session_replication_role`,
        `unexpected: schema public: grant CREATE to PUBLIC`,
        `  + grant CREATE to PUBLIC`,
        `    → REVOKE CREATE ON SCHEMA public FROM PUBLIC`,
        'The schema is not that of the newest migration (-): 2 objects differ in the database (+).\n',
      ].join('\n'),
      ...{ stderr: '', exitCode: 1 },
    });
    const { stdout } = await check('--json', '--ignore-privileges');
    expect(
      stdout
        .split('\n')
        .slice(0, 2)
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      expect.objectContaining({ kind: 'unexpected', remedy: expect.stringContaining('RESET') as string }),
      { kind: 'summary', comparedWith: 'the newest migration', differing: 1 },
    ]);
    await database.query(`ALTER DATABASE ${database.name} RESET session_replication_role`);
    await database.query(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`);
    expect(await check()).toMatchObject({ exitCode: 0 });
  });
});

describe('a database where grants has not run, on a server that has the roles', () => {
  const other = useTestDatabase();
  const check = (...args: string[]) => cliHere(other.url, checkCommand(), ['--role-prefix', roles.prefix, ...args]);
  const SAYS = new RegExp(
    `^missing: privileges of ${roles.prefix}_api, .*: grants has not run on this database\\. Run .*--ignore-privileges$`,
  );

  test('says so in one line, and is as it should be without its privileges', async () => {
    const { stdout, exitCode } = await check();
    const [line, summary, end] = stdout.split('\n');
    expect(line).toMatch(SAYS);
    expect([summary, end]).toEqual([
      'The schema is not that of the newest migration (-): 1 object differs in the database (+).',
      '',
    ]);
    expect(exitCode).toBe(1);
    expect(await check('--ignore-privileges')).toEqual({
      stdout: 'The schema is that of the newest migration.\n',
      ...{ stderr: '', exitCode: 0 },
    });
  });

  test('still names what else differs, and every privilege once grants has run', async () => {
    await other.query('ALTER TABLE outbox DISABLE TRIGGER ALL; CREATE INDEX more ON outbox (id)');
    await other.query('GRANT SELECT ON outbox TO PUBLIC');
    expect((await check()).stdout).toMatch(/index more\n[\s\S]*grant SELECT to PUBLIC\n[\s\S]*grants has not run/);
    expect((await check('--ignore-privileges')).stdout).toMatch(
      /^unexpected: table outbox: index more\n.*\nThe schema is not/,
    );
    await other.query('DROP INDEX more');
    const dataSource = await other.dataSource();
    await grantPrivileges(dataSource, { rolePrefix: roles.prefix });
    expect(await check()).toMatchObject({ exitCode: 0 });
    await other.query(
      `REVOKE DELETE ON outbox FROM ${roles.group('relay')}; REVOKE USAGE ON SCHEMA public FROM ${roles.group('api')}`,
    );
    const { drift: left } = await compareSchema(dataSource, { rolePrefix: roles.prefix });
    expect(left).toMatchObject([
      { kind: 'missing', object: `table outbox: grant DELETE to ${roles.group('relay')}` },
      {
        kind: 'missing',
        object: `schema public: grant USAGE to ${roles.group('api')}`,
        remedy: 'npx payment-events-db grants',
      },
    ]);
    await other.query(`DROP OWNED BY ${ROLES.map((role) => roles.group(role)).join(', ')}`);
  });
});
