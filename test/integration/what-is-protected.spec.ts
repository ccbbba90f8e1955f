import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type QueryRunner } from 'typeorm';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { createProgram } from '../../src/cli/program';
import { ConstraintViolationError, DatabaseError, PermissionDeniedError } from '../../src/errors';
import { translateError } from '../../src/database/translate-error';
import { targetCatalog } from '../../src/schema/catalogs';
import { compareCatalogs } from '../../src/schema/compare-catalogs';
import { readCatalog } from '../../src/schema/catalog';
import { readExposures } from '../../src/check/exposures';
import { withGrants } from '../../src/grants/expected-grants';
import { ROLES } from '../../src/grants/privileges';
import { aConfig, insertLegacyConfig } from '../support/configs/config-rows';
import { anAuthorization, aRequest } from '../support/requests/auth-requests';
import { programHere } from '../support/processes/cli';
import { codeBlocks } from '../support/docs/doc-code';
import { quietDataSource } from '../support/database/quiet-data-source';
import { commandsIn } from '../support/docs/doc-page';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const PAGE = 'docs/explanation/what-is-protected.md';
const database = useTestDatabase();
const roles = useRoles(database);
const thief = () => `${roles.prefix}_thief`;
let superuser: PaymentEventsDataSource;
let backup: PaymentEventsDataSource;

beforeAll(async () => {
  await roles.setUp();
  superuser = await quietDataSource({ url: database.url });
  await database.query(`CREATE ROLE ${thief()} LOGIN PASSWORD 'test' IN ROLE pg_read_all_data`);
  await database.query(`GRANT CONNECT ON DATABASE ${database.name} TO ${thief()}`);
  backup = await quietDataSource({ url: Object.assign(new URL(roles.url('owner')), { username: thief() }).href });
  await insertLegacyConfig(database, aConfig({ processor_config: { api_key: 'sk_test' } }));
  const settled = await aRequest(superuser, { started: true });
  await settled.requests.recordAuthorized(settled.lease, anAuthorization());
  await aRequest(superuser, { started: true });
});
afterAll(async () => {
  await superuser.destroy();
  await backup.destroy();
});

const LOGINS: Record<string, () => Promise<PaymentEventsDataSource>> = {
  'The API': () => roles.as('api'),
  'The worker': () => roles.as('worker'),
  'The relay': () => roles.as('relay'),
  'The sweeper': () => roles.as('sweeper'),
  'Those who manage configurations': () => roles.as('configs'),
  'Those who seal secrets': () => roles.as('secrets'),
  'People on call': () => roles.as('readonly'),
  'The owner of the tables': () => roles.as('owner'),
  'A superuser': () => Promise.resolve(superuser),
  'A stolen backup': () => Promise.resolve(backup),
};

interface Claim {
  section: string;
  claim: string;
  statement: string;
  outcome: string;
  shownBy: string;
}

/** The lines of the page's tables. No statement has a bar in it. */
const CLAIMS: Claim[] = readFileSync(join(__dirname, '../..', PAGE), 'utf8')
  .split('\n## ')
  .slice(1)
  .flatMap((section) => {
    const lines = section.split('\n').filter((line) => line.startsWith('| ') && line.includes('`'));
    return lines.map((line) => {
      const [claim, statement, outcome, shownBy = ''] = line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.replaceAll('`', '').trim());
      return { section: section.split('\n')[0]!, claim: claim!, statement: statement!, outcome: outcome!, shownBy };
    });
  });

const here = (statement: string) =>
  statement.replaceAll('payment_events_db ', `${database.name} `).replaceAll('payment_events_api', roles.group('api'));

/** `yes`, or `no: ` and what stopped it, by the names that the page has. */
async function outcomeOf(queryRunner: QueryRunner, statement: string): Promise<string> {
  try {
    await queryRunner.query(here(statement));
    return 'yes';
  } catch (error) {
    const translated = translateError(error);
    if (translated instanceof PermissionDeniedError) return 'no: 42501';
    if (translated instanceof ConstraintViolationError) return `no: ${translated.constraint}`;
    if (translated instanceof DatabaseError) return `no: ${translated.sqlState}`;
    throw error;
  }
}

/** What `check` finds, within the transaction that is not to be committed. */
async function foundByCheck(queryRunner: QueryRunner): Promise<string[]> {
  const expected = withGrants(targetCatalog, ROLES, roles.prefix);
  const drift = compareCatalogs(expected, await readCatalog(queryRunner));
  return [...drift, ...(await readExposures(queryRunner, roles.prefix))].map(({ object }) => object);
}

const cli = (login: 'owner' | 'worker', ...args: string[]) =>
  programHere(createProgram(), args, { DATABASE_URL: roles.url(login) });

describe('the page "What is protected, and from whom"', () => {
  test('has a line for every role, the owner, superusers and backups, each with a statement', () => {
    const lines = readFileSync(join(__dirname, '../..', PAGE), 'utf8').match(/^\| (?!can|has|---).*/gm)!;
    expect(CLAIMS).toHaveLength(lines.length);
    expect([...new Set(CLAIMS.map(({ section }) => section))]).toEqual(Object.keys(LOGINS));
    for (const { outcome } of CLAIMS) expect(outcome).toMatch(/^(yes|no: \w+)$/);
  });

  test.each(CLAIMS)('$section, $claim: $outcome', async ({ section, statement, outcome, shownBy }) => {
    const queryRunner = (await LOGINS[section]!()).createQueryRunner();
    await queryRunner.startTransaction();
    try {
      expect(await outcomeOf(queryRunner, statement)).toBe(outcome);
      if (outcome !== 'yes') return;
      const found = await foundByCheck(queryRunner);
      if (shownBy === 'check') expect(found.length).toBeGreaterThan(0);
      else expect(found).toEqual([]);
    } finally {
      await queryRunner.rollbackTransaction();
      await queryRunner.release();
    }
  });

  test('is right that verify shows what the owner makes of a row, and rebuild takes it back', async () => {
    const shown = CLAIMS.filter(({ shownBy }) => shownBy === 'verify');
    expect(shown).toHaveLength(1);
    await (await roles.as('owner')).query(here(shown[0]!.statement));
    const { stdout, exitCode } = await cli('worker', 'verify', '--json');
    expect(exitCode).toBe(1);
    const { authRequestId } = JSON.parse(stdout.split('\n')[0]!) as { authRequestId: string };
    expect(await cli('owner', 'rebuild', authRequestId)).toMatchObject({ exitCode: 0 });
    expect(await cli('worker', 'verify')).toMatchObject({ exitCode: 0 });
  });

  test('names commands that run as it says', async () => {
    const commands = commandsIn(codeBlocks(PAGE, 'bash')).map((command) => command.split(' '));
    expect(commands.map(([, , name]) => name)).toEqual(['check', 'verify', 'grants']);
    for (const [, , name, ...args] of commands) {
      const prefix = name === 'verify' ? [] : ['--role-prefix', roles.prefix];
      expect(await cli('worker', name!, ...args, ...prefix)).toMatchObject({ stderr: '', exitCode: 0 });
    }
  });
});
