import { type DataSource } from 'typeorm';
import { DocPage, commandsIn } from '../support/docs/doc-page';
import { runPageCommand } from '../support/docs/page-command';
import { aHold, type MadeHold } from '../support/requests/holds';
import { useTestDatabase } from '../support/database/use-test-database';

const PAGE = new DocPage('docs/how-to/look-after-holds.md');
const database = useTestDatabase();
let dataSource: DataSource;

/** The page's ids of requests, by the ids of their holds. */
const made = new Map<string, MadeHold>();
const PAGES_IDS: [string, string, Parameters<typeof aHold>[1]][] = [
  ['0199f1e2-7e1c-7000-8000-000000000451', 'pi_void_failed', 'void_failed'],
  ['0199f1e2-7e1c-7000-8000-000000000452', 'pi_voided_by_hand', 'void_failed'],
  ['0199f1e2-7e1c-7000-8000-000000000453', 'pi_captured', 'captured_unneeded'],
  ['0199f1e2-7e1c-7000-8000-000000000454', 'pi_legacy_standing', 'never_voided'],
  ['0199f1e2-7e1c-7000-8000-000000000455', 'pi_legacy_lapsed', 'never_voided'],
];

beforeAll(async () => {
  dataSource = await database.dataSource();
  for (const [id, processorAuthId, because] of PAGES_IDS) {
    made.set(id, await aHold(dataSource, because, { processorAuthId, amountCents: 700 }));
  }
  await aHold(dataSource, 'voiding', { processorAuthId: 'pi_old', set: `state_since = now() - interval '2 hours'` });
  await aHold(dataSource, 'needed', {
    processorAuthId: 'pi_needed',
    set: `hold_expires_at = now() + interval '2 hours'`,
  });
});

/** Runs a command of the page on the holds that were made for it. */
async function run(command: string) {
  const words = Object.fromEntries([...made].map(([id, { authRequestId }]) => [id, authRequestId]));
  return await runPageCommand(command, { env: { DATABASE_URL: database.url }, words });
}

const commandsOf = (section: string) => PAGE.blocksOf(section, 'bash').flatMap(commandsIn);

const finished = (command: RegExp, stdout: RegExp, exitCode: number) => ({
  command: expect.stringMatching(command) as string,
  stdout: expect.stringMatching(stdout) as string,
  ...{ stderr: '', exitCode },
});

test('the comparison with a processor’s report finds what differs, and nothing else', async () => {
  const [counts, table, compare] = PAGE.blocksOf('Reconcile what legacy services left', 'sql');
  const client = await database.connect();
  await client.query('BEGIN');
  const counted = (await client.query<Record<string, unknown>>(counts!)).rows;
  expect(counted.map(({ state, is_needed, holds, amount_cents }) => [state, is_needed, holds, amount_cents])).toEqual([
    ['captured', false, '1', '700'],
    ['held', false, '2', '1400'],
    ['held', true, '1', '1050'],
    ['void_failed', false, '2', '1400'],
    ['voiding', false, '1', '1050'],
  ]);
  await client.query(table!);
  await client.query(
    `INSERT INTO report VALUES ('pi_void_failed', 700, 'USD', 'void_failed'), ('pi_voided_by_hand', 700, 'USD', 'voided'),
       ('pi_captured', 500, 'USD', 'captured'), ('pi_legacy_standing', 700, 'USD', 'held'),
       ('pi_legacy_lapsed', 700, 'USD', 'lapsed'), ('pi_old', 1050, 'USD', 'voiding'), ('pi_unreported', 1, 'USD', 'held')`,
  );
  const found = (await client.query<Record<string, unknown>>(compare!)).rows;
  expect(
    found.map(({ processor_auth_id, difference, state, stands }) => [processor_auth_id, difference, state, stands]),
  ).toEqual([
    ['pi_captured', 'another amount', 'captured', 'captured'],
    ['pi_legacy_lapsed', 'it stands otherwise', 'held', 'lapsed'],
    ['pi_voided_by_hand', 'it stands otherwise', 'void_failed', 'voided'],
    ['pi_unreported', 'no event reports it: somebody has to end it at the processor', null, 'held'],
    ['pi_needed', 'the processor does not know it', 'held', null],
  ]);
  await client.query('ROLLBACK');
});

test('the commands that look show what they are there for', async () => {
  const blocks = PAGE.blocks.filter(({ language, section }) => language === 'bash' && section.startsWith('# Look'));
  const commands = blocks.flatMap(({ code }) => commandsIn(code));
  const results = [];
  for (const command of commands) results.push(await run(command));
  expect(results).toEqual([
    finished(/ holds$/, /pi_void_failed [^]*\n\nstate +currency/, 1),
    finished(/--for-a-person$/, /pi_legacy_lapsed/, 1),
    finished(/--older-than 60$/, /^request.*\n.*pi_old.*\n\nstate/, 0),
    finished(/--lapsing-within 24$/, /^request.*\n.*pi_needed.*\n\nstate/, 0),
    finished(/--totals --json$/, /^{"state":"captured",/, 1),
    finished(/ inspect pi_void_failed$/, /VOIDED[^]*npx payment-events-db holds requeue/, 0),
  ]);
});

test('the commands that see to holds do so, until none waits for a person', async () => {
  const commands = [
    ...commandsOf('A void failed'),
    ...commandsOf('Captured although nobody needed it'),
    ...commandsOf('Reconcile what legacy services left'),
  ];
  const results = [];
  for (const command of commands) results.push(await run(command));
  expect(results).toEqual([
    finished(/ requeue .*451 /, /^A worker is told to void it\.\n$/, 0),
    finished(/ end .*452 /, /^It is voided\.\n$/, 0),
    finished(/ end .*453 /, /^It is captured\.\n$/, 0),
    finished(/--limit 10000 --json$/, /^{.*"because":"never_voided".*\n{.*\n$/, 1),
    finished(/ requeue .*454 /, /^A worker is told to void it\.\n$/, 0),
    finished(/ end .*455 /, /^It is lapsed\.\n$/, 0),
  ]);
  expect(await run('npx payment-events-db holds --for-a-person')).toMatchObject({
    ...{ stdout: 'No such hold may still stand.\n', exitCode: 0 },
  });
});
