import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { findDrift } from '../../src/check/drift';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { grantPrivileges } from '../../src/grants/grant-privileges';
import { type Role } from '../../src/grants/privileges';
import { aConfig, aSecret, TestKeyring } from '../support/configs/configs';
import { debianPostgres, DebianServer } from '../support/database/debian-server';
import { quietDataSource } from '../support/database/quiet-data-source';
import { DocPage } from '../support/docs/doc-page';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';

const PAGE = new DocPage('docs/how-to/audit-with-pgaudit.md');
const binaries = debianPostgres('pgaudit');
if (!binaries && !process.env.CI) {
  process.stderr.write(
    'The tests of pgaudit are skipped: it is not installed (Debian: apt-get install postgresql-15-pgaudit).\n',
  );
}

/** The page's `postgresql.conf`. */
const settings = Object.fromEntries(
  [
    ...PAGE.blocksOf('Set it up', 'ini')
      .join('')
      .matchAll(/^(\S+) = (?:'(.*)'|(.*))$/gm),
  ].map(([, name, quoted, bare]) => [name!, quoted ?? bare!]),
);

(binaries || process.env.CI ? describe : describe.skip)('with pgaudit, as the page sets it up', () => {
  const keyring = new TestKeyring();
  const secrets = { api_key: aSecret() };
  const restaurantId = uuidv4();
  let server: DebianServer;
  let superuser: PaymentEventsDataSource;
  const users = new Map<Role, PaymentEventsDataSource>();

  beforeAll(async () => {
    if (!binaries) throw new Error('pgaudit is not installed: apt-get install postgresql-15-pgaudit');
    server = await DebianServer.start(binaries, settings);
    superuser = await quietDataSource({ url: server.url });
    await superuser.runMigrations();
    await grantPrivileges(superuser);
    await superuser.query(PAGE.blocksOf('Set it up', 'sql').join('\n'));
    for (const role of ['api', 'worker', 'configs', 'readonly'] as const) {
      await superuser.query(`CREATE ROLE ${role}_login LOGIN PASSWORD 'hunter2' IN ROLE payment_events_${role}`);
      const url = Object.assign(new URL(server.url), { username: `${role}_login`, password: 'hunter2' }).href;
      users.set(role, await quietDataSource({ url }));
    }
  });
  afterAll(async () => {
    for (const user of users.values()) await user.destroy();
    await superuser?.destroy();
    await server?.remove();
  });

  const configsAs = async (role: Role) =>
    new RestaurantPaymentConfigs(users.get(role)!, { keys: await keyring.keys() });

  /** What is logged of some work: who, and what pgaudit says of it, without the number of the statement. */
  async function audited(work: () => Promise<unknown>): Promise<string[]> {
    const before = server.log().length;
    await work();
    const lines = server
      .log()
      .slice(before)
      .matchAll(/ user=(\S+) .*AUDIT: (\w+),\d+,\d+,(.*)$/gm);
    return [...lines].map(([, user, kind, what]) => `${user} ${kind} ${what}`);
  }

  const of = (user: string, kind: string, table: string) =>
    `${user} OBJECT ${kind},TABLE,public.${table},<not logged>,<not logged>`;

  test('reads and writes of sealed secrets and data keys are logged as those of their login, without a parameter', async () => {
    const configs = await configsAs('configs');
    const activation = await audited(() => configs.activate(restaurantId, aConfig({ secrets }), { by: 'ada' }));
    expect(activation).toEqual([
      of('configs_login', 'WRITE,INSERT', 'data_keys'),
      of('configs_login', 'WRITE,UPDATE', 'restaurant_payment_configs'),
      of('configs_login', 'WRITE,INSERT', 'restaurant_payment_configs'),
    ]);
    const worker = await configsAs('worker');
    expect(await audited(() => worker.getActive(restaurantId))).toEqual([
      of('worker_login', 'READ,SELECT', 'restaurant_payment_configs'),
      of('worker_login', 'READ,SELECT', 'data_keys'),
    ]);
    const byHand = `SELECT sealed_secrets FROM restaurant_payment_configs WHERE restaurant_id = '${restaurantId}'`;
    expect(await audited(() => superuser.query(byHand))).toEqual([
      of('postgres', 'READ,SELECT', 'restaurant_payment_configs'),
    ]);
    for (const text of [restaurantId, secrets.api_key, 'hunter2']) expect(server.log()).not.toContain(text);
  });

  test('reads of other things are not logged, nor is what the API does', async () => {
    const work = async () => {
      await users.get('readonly')!.query('SELECT restaurant_id, is_active FROM restaurant_payment_configs');
      await users.get('worker')!.query('SELECT status FROM auth_request_state');
      await new AuthRequests(users.get('api')!).authorize(anAuthorizeCommand());
    };
    expect(await audited(work)).toEqual([]);
  });

  test('an attempt of a worker is four lines, since its statements read the payment token', async () => {
    const { authRequestId } = await new AuthRequests(users.get('api')!).authorize(anAuthorizeCommand());
    const command = { restaurantId: RESTAURANT, authRequestId, configVersion: 'v1', ttlMs: 60_000 };
    const answer = () => Promise.resolve({ outcome: 'authorized', ...anAuthorization() } as const);
    const twice = ['READ,SELECT', 'WRITE,UPDATE'].map((kind) => of('worker_login', kind, 'auth_request_state'));
    expect(await audited(() => new AuthRequests(users.get('worker')!).attempt(command, answer))).toEqual([
      ...twice,
      ...twice,
    ]);
  });

  test('changes of tables, guards, privileges and events by a superuser are logged', async () => {
    const trigger = 'TRIGGER payment_events_append_only';
    const work = async () => {
      await superuser.query(`ALTER TABLE payment_events DISABLE ${trigger}`);
      await superuser.query(`UPDATE payment_events SET metadata = metadata`);
      await superuser.query(`ALTER TABLE payment_events ENABLE ALWAYS ${trigger}`);
      await superuser.query(`GRANT SELECT ON data_keys TO readonly_login`);
      await superuser.query(`REVOKE SELECT ON data_keys FROM readonly_login`);
    };
    expect(await audited(work)).toEqual([
      'postgres SESSION DDL,ALTER TABLE,TABLE,public.payment_events,<not logged>,<not logged>',
      of('postgres', 'WRITE,UPDATE', 'payment_events'),
      'postgres SESSION DDL,ALTER TABLE,TABLE,public.payment_events,<not logged>,<not logged>',
      'postgres SESSION ROLE,GRANT,TABLE,,<not logged>,<not logged>',
      'postgres SESSION ROLE,REVOKE,TABLE,,<not logged>,<not logged>',
    ]);
  });

  test('check takes the auditor for what it is, and names its privileges once somebody can act as it', async () => {
    expect(await findDrift(superuser)).toEqual([]);
    await superuser.query('GRANT payment_events_auditor TO readonly_login');
    expect((await findDrift(superuser)).map(({ object }) => object)).toContain(
      'table data_keys: grant SELECT on column wrapped to payment_events_auditor',
    );
    await superuser.query('REVOKE payment_events_auditor FROM readonly_login');
    expect(await findDrift(superuser)).toEqual([]);
  });

  test('a superuser can switch it off for a session, which is why the log has to leave the server', async () => {
    const work = () =>
      superuser.transaction(async (manager) => {
        await manager.query(`SET LOCAL pgaudit.role = ''`);
        await manager.query(`SELECT sealed_secrets FROM restaurant_payment_configs`);
      });
    expect(await audited(work)).toEqual([]);
  });
});
