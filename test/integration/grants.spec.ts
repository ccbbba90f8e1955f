import { ExitCode } from '../../src/cli/exit-codes';
import { grantsCommand } from '../../src/cli/commands/grants';
import { type GrantOptions, grantPrivileges, planGrants } from '../../src/grants/grant-privileges';
import { existingRoles, withGrants } from '../../src/grants/expected-grants';
import { GrantsRefusedError } from '../../src/grants/errors';
import { ROLES } from '../../src/grants/privileges';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { PendingMigrationsError } from '../../src/migrator/errors';
import { roleNames } from '../../src/grants/role-name';
import { readAccessLists } from '../support/database/access-lists';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { cliHere } from '../support/processes/cli';
import { comeToWait } from '../support/requests/races';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase({ empty: true });
const roles = useRoles(database);

const owner = () => roles.as('owner');
const grants = async (options?: GrantOptions) =>
  grantPrivileges(await owner(), { rolePrefix: roles.prefix, ...options });
const accessLists = async () => readAccessLists(await owner());
const catalog = async () => readCatalog(await owner());
const everyRole = (created: boolean) => ROLES.map((role) => ({ name: roles.group(role), created }));
const refusal = async (granting: Promise<unknown>) => {
  const error = await failureOf(granting);
  expect(error).toBeInstanceOf(GrantsRefusedError);
  return (error as GrantsRefusedError).reasons;
};

test('before the migrations have run it grants nothing and says what to do', async () => {
  await expect(grants()).rejects.toThrow(PendingMigrationsError);
  expect(await existingRoles(await owner(), roles.prefix)).toEqual([]);
});

test('an owner who is no superuser migrates, makes the roles and grants; the catalog is the expected one then', async () => {
  await (await owner()).runMigrations();
  expect(await catalog()).toBe(targetCatalog);
  expect(await grants()).toEqual(everyRole(true));
  await roles.createLogins();
  expect(await existingRoles(await owner(), roles.prefix)).toEqual(ROLES);
  const expected = withGrants(targetCatalog, ROLES, roles.prefix);
  expect(await catalog()).toBe(expected);
  const granted = (text: string) => text.split('\n').filter((line) => line.startsWith('  grant '));
  expect(granted(expected).length).toBeGreaterThan(100);
  expect(expected.length - targetCatalog.length).toBe(granted(expected).join('\n').length + 1);
});

test('PUBLIC has nothing but the right to connect', async () => {
  const ofPublic = (await accessLists()).filter((line) => line.includes(' PUBLIC'));
  expect(ofPublic).toEqual([`database CONNECT PUBLIC by ${roles.owner}`]);
});

test('only roles that the server has are expected in the catalog', () => {
  const expected = withGrants(targetCatalog, ['relay'], 'some');
  expect(expected).toContain('  grant DELETE to some_relay\n');
  expect(expected).not.toContain('some_api');
  expect(withGrants(targetCatalog, [])).toBe(targetCatalog);
});

test('run again it leaves everything as it is', async () => {
  const before = await accessLists();
  expect(await grants()).toEqual(everyRole(false));
  expect(await accessLists()).toEqual(before);
  expect(await catalog()).toBe(withGrants(targetCatalog, ROLES, roles.prefix));
});

test('what was granted by hand is revoked, and what a role has passed on', async () => {
  const before = await accessLists();
  const [api, readonly] = [roles.group('api'), roles.group('readonly')];
  await (
    await owner()
  ).query(`
    GRANT ALL ON DATABASE ${database.name} TO ${api};
    GRANT TEMPORARY ON DATABASE ${database.name} TO PUBLIC;
    GRANT CREATE ON SCHEMA public TO ${api}, PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO ${api}, PUBLIC;
    GRANT UPDATE (event_data) ON payment_events TO ${readonly};
    GRANT SELECT ON payment_events_db_migrations TO ${readonly} WITH GRANT OPTION;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${api}, PUBLIC;
    GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO ${api}, PUBLIC`);
  await (await roles.as('readonly')).query(`GRANT SELECT ON payment_events_db_migrations TO PUBLIC`);
  expect((await accessLists()).length).toBeGreaterThan(before.length + 50);
  await grants();
  expect(await accessLists()).toEqual(before);
});

test('while it runs nobody is without a privilege for a moment', async () => {
  const requests = new AuthRequests(await roles.as('api'));
  let [over, authorized] = [false, 0];
  const traffic = [1, 2].map(async () => {
    for (; !over; authorized++) await requests.authorize(anAuthorizeCommand());
  });
  try {
    for (let run = 0; run < 5; run++) await grants();
  } finally {
    over = true;
    await Promise.all(traffic);
  }
  expect(authorized).toBeGreaterThan(10);
});

test('it waits for nobody who reads or writes, however long', async () => {
  const session = await database.connect();
  await session.query('BEGIN; LOCK TABLE payment_events, auth_request_state, outbox IN EXCLUSIVE MODE');
  try {
    await grants();
  } finally {
    await session.query('ROLLBACK');
  }
});

test("a role that is being made from another database at that moment is in nobody's way", async () => {
  const prefix = `${roles.prefix}_race`;
  const elsewhere = await database.connect();
  await elsewhere.query(`BEGIN; CREATE ROLE ${prefix}_worker NOLOGIN`);
  const granting = grants({ rolePrefix: prefix });
  expect(await comeToWait(database, 1)).toBe(true);
  await elsewhere.query('COMMIT');
  expect(await granting).toHaveLength(ROLES.length);
  expect(await existingRoles(await owner(), prefix)).toEqual(ROLES);
  await database.query(`DROP OWNED BY ${roleNames(prefix).join(', ')}`);
});

test('many at once all succeed, also in two databases that share the roles', async () => {
  const prefix = `${roles.prefix}_many`;
  const [one, other] = [await owner(), await second.dataSource()];
  const all = [one, other, one, other, one, other].map((dataSource) =>
    grantPrivileges(dataSource, { rolePrefix: prefix, say: () => undefined }),
  );
  expect(await Promise.all(all)).toHaveLength(6);
  expect(await readCatalog(other)).toBe(withGrants(targetCatalog, ROLES, prefix));
  for (const shared of [database, second]) await shared.query(`DROP OWNED BY ${roleNames(prefix).join(', ')}`);
});
const second = useTestDatabase();

describe('without CREATEROLE', () => {
  beforeAll(() => database.query(`ALTER ROLE ${roles.owner} NOCREATEROLE`));
  afterAll(() => database.query(`ALTER ROLE ${roles.owner} CREATEROLE`));

  test('it grants to roles that exist', async () => {
    const before = await accessLists();
    await (await owner()).query(`REVOKE ALL ON outbox FROM ${roles.group('relay')}`);
    expect(await grants()).toEqual(everyRole(false));
    expect(await accessLists()).toEqual(before);
  });

  test('it says which roles are missing and how to make them', async () => {
    const before = await accessLists();
    const missing = ROLES.map((role) => `missing_${role}`).join(', ');
    expect(await refusal(grants({ rolePrefix: 'missing' }))).toEqual([
      `Missing: ${missing}. User ${roles.owner} may not create roles. As somebody who may: CREATE ROLE … NOLOGIN for ` +
        `each, or ALTER ROLE ${roles.owner} CREATEROLE.`,
    ]);
    expect(await accessLists()).toEqual(before);
  });
});

test('it says what belongs to somebody else, and to whom', async () => {
  const [{ superuser }] = (await database.query('SELECT current_user AS superuser')) as [{ superuser: string }];
  const before = await accessLists();
  await database.query(
    'ALTER TABLE outbox OWNER TO CURRENT_USER; ALTER FUNCTION guard_auth_request_state OWNER TO CURRENT_USER',
  );
  expect(await refusal(grants())).toEqual([
    `User ${roles.owner} is not the owner of guard_auth_request_state(), outbox, outbox_id_seq: connect as ${superuser}, ` +
      'or have it changed by ALTER … OWNER TO.',
  ]);
  await roles.handOver();
  expect(await accessLists()).toEqual(before);

  const [reason] = await refusal(grantPrivileges(await roles.as('readonly'), { rolePrefix: roles.prefix }));
  expect(reason).toMatch(
    new RegExp(
      `^User ${roles.user('readonly')} is not the owner of auth_holds, .*, database .*: connect as ${roles.owner}`,
    ),
  );
});

test.each([
  ['ALTER ROLE $ LOGIN', 'LOGIN', 'ALTER ROLE $ NOLOGIN'],
  ['ALTER ROLE $ SUPERUSER CREATEDB', 'SUPERUSER, CREATEDB', 'ALTER ROLE $ NOSUPERUSER NOCREATEDB'],
  ['GRANT pg_read_all_data TO $', 'member of pg_read_all_data', 'REVOKE pg_read_all_data FROM $'],
])('it refuses a role that would hand on more than it is granted: %s', async (spoil, what, mend) => {
  await database.query(spoil.replace('$', roles.group('worker')));
  expect(await refusal(grants())).toEqual([
    `Role ${roles.group('worker')} is more than a group without a login: ${what}. Take that from it, or name others by a prefix.`,
  ]);
  await database.query(mend.replace('$', roles.group('worker')));
});

describe('a database that was restored from a dump', () => {
  const restored = useTestDatabase();
  const operators = useRoles(restored);
  const restorer = () => operators.as('owner');

  test('is refused while another owns the tables, and put right once they belong to an owner who is no superuser', async () => {
    // What the privileges of the dump were is up to the database that it comes from.
    await restored.query(
      `GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC;
       REVOKE CONNECT ON DATABASE ${restored.name} FROM PUBLIC`,
    );
    await refusal(grantPrivileges(await restorer(), { rolePrefix: operators.prefix }));
    await operators.handOver();
    await grantPrivileges(await restorer(), { rolePrefix: operators.prefix });
    expect(await readCatalog(restored)).toBe(withGrants(targetCatalog, ROLES, operators.prefix));
    await operators.createLogins();
    const { authRequestId } = await new AuthRequests(await operators.as('api')).authorize(anAuthorizeCommand());
    const onCall = new AuthRequests(await operators.as('readonly'));
    expect(await onCall.get({ restaurantId: RESTAURANT, authRequestId })).toMatchObject({ status: 'PENDING' });
  });
});

describe('the command line', () => {
  const here = (...args: string[]) => cliHere(roles.url('owner'), grantsCommand(), args);

  test('says what happened to each role, in a table or as JSON', async () => {
    const state = 'has what it needs';
    expect(await here('--role-prefix', roles.prefix)).toEqual({
      stdout: expect.stringMatching(
        new RegExp(`^role +now\n${ROLES.map((role) => `${roles.group(role)} +${state}\n`).join('')}$`),
      ) as string,
      stderr: '',
      exitCode: 0,
    });
    const { stdout } = await here('--role-prefix', roles.prefix, '--json');
    expect(JSON.parse(stdout)).toEqual({ roles: everyRole(false) });
  });

  test('--dry-run prints SQL that does the same when it is run by hand, twice as well, and changes nothing', async () => {
    const before = await accessLists();
    const prefix = `${roles.prefix}_hand`;
    const { stdout: sql, exitCode } = await here('--role-prefix', prefix, '--dry-run');
    expect(exitCode).toBe(0);
    expect(await accessLists()).toEqual(before);
    expect(await existingRoles(await owner(), prefix)).toEqual([]);
    expect(JSON.parse((await here('--role-prefix', prefix, '--dry-run', '--json')).stdout)).toEqual({ sql });
    expect(sql).toBe(await planGrants(await owner(), prefix));
    for (let run = 0; run < 2; run++) await (await owner()).query(sql);
    const ofGroups = (lines: string[], their: string) =>
      lines.filter((line) => ROLES.some((role) => line.includes(` ${their}_${role} `)));
    const granted = ofGroups(before, roles.prefix);
    expect(granted.length).toBeGreaterThan(100);
    const same = granted.map((line) => line.replace(` ${roles.prefix}_`, ` ${prefix}_`));
    expect(ofGroups(await accessLists(), prefix)).toEqual(same);
  });

  test('what is refused and what is wrong have exit codes of their own', async () => {
    await database.query(`ALTER ROLE ${roles.group('worker')} LOGIN`);
    expect(await here('--role-prefix', roles.prefix)).toEqual({
      stdout: '',
      stderr: expect.stringMatching(/^Nothing was granted:\n {2}Role /) as string,
      exitCode: ExitCode.refused,
    });
    await database.query(`ALTER ROLE ${roles.group('worker')} NOLOGIN`);
    for (const wrong of ['', 'Payment', 'pg_events', 'a; DROP', 'x'.repeat(51)]) {
      expect(await here('--role-prefix', wrong)).toMatchObject({ exitCode: ExitCode.usage });
    }
  });
});
