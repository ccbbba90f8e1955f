import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { Holds } from '../../src/auth-requests/holds/holds';
import { createProgram } from '../../src/cli/program';
import { inspectRequest } from '../../src/inspection/inspect-request';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { aHold, type MadeHold } from '../support/requests/holds';
import { programHere } from '../support/processes/cli';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: DataSource;
let holds: Holds;

beforeAll(async () => {
  dataSource = await database.dataSource();
  holds = new Holds(dataSource);
});

const stepsOf = async ({ authRequestId }: MadeHold) => (await inspectRequest(dataSource, authRequestId)).next;

/** Delivers what waits, so that no step is about messages. */
const deliverAll = () => database.query(`UPDATE outbox SET processed_at = now() WHERE processed_at IS NULL`);

/** Runs a command of a step, as a person would with a name and a reason of theirs. */
async function run(step: string, verb: string) {
  const [, command] = new RegExp(`npx payment-events-db (holds ${verb} .*?--reason <why>)`).exec(step)!;
  const args = command!.replace('<you>', 'ada').replace('<why>', 'seen').split(' ');
  return await programHere(createProgram(), args, { DATABASE_URL: database.url });
}

const stateOf = async ({ authRequestId }: MadeHold) =>
  (await inspectRequest(dataSource, authRequestId)).holds.map(({ state, isListed }) => [state, isListed]);

describe('what to do next', () => {
  test('of a void that failed is to correct that and have it voided again, or to write down how it ended: both commands run', async () => {
    const hold = await aHold(dataSource, 'void_failed');
    await deliverAll();
    const [step, ...more] = await stepsOf(hold);
    expect(step).toMatch(
      /^Hold pi_\S+ at stripe \(1050 USD\) was not voided: no_such_charge\. Correct that, then run: npx/,
    );
    expect(more).toEqual([]);
    expect((await run(step!, 'requeue')).exitCode).toBe(0);
    expect(await stateOf(hold)).toEqual([['voiding', true]]);
    const other = await aHold(dataSource, 'void_failed');
    expect((await run((await stepsOf(other)).at(-1)!, 'end')).exitCode).toBe(0);
    expect(await stateOf(other)).toEqual([['voided', false]]);
    await deliverAll();
    expect(await stepsOf(other)).toEqual(['Nothing.']);
  });

  test('of one that was captured although nobody needed it is to give the money back and to say so', async () => {
    const hold = await aHold(dataSource, 'captured_unneeded', { amountCents: 700 });
    await deliverAll();
    const [step, ...more] = await stepsOf(hold);
    expect(step).toMatch(
      /was captured \(700 USD\) although nobody needed it: give the money back at the processor, then run: npx/,
    );
    expect(more).toEqual([]);
    expect((await run(step!, 'end')).exitCode).toBe(0);
    expect(await stateOf(hold)).toEqual([['captured', false]]);
    expect(await stepsOf(hold)).toEqual(['Nothing.']);
  });

  test('of one that a legacy service left is to look at the processor, and to void it or to say how it ended', async () => {
    const hold = await aHold(dataSource, 'never_voided');
    await deliverAll();
    const [step] = await stepsOf(hold);
    expect(step).toMatch(
      /was left by a legacy service, and nothing says that it was voided\. If the processor still holds it/,
    );
    expect((await run(step!, 'requeue')).exitCode).toBe(0);
    expect(await stateOf(hold)).toEqual([['voiding', true]]);
  });

  test('of one that its request needs is to have it captured before it lapses, within a day', async () => {
    const soon = await aHold(dataSource, 'needed', { set: `hold_expires_at = now() + interval '2 hours'` });
    const later = await aHold(dataSource, 'needed', { set: `hold_expires_at = now() + interval '3 days'` });
    await deliverAll();
    expect(await stepsOf(soon)).toEqual([
      expect.stringMatching(
        /^Hold pi_\S+ at stripe \(1050 USD\) lapses at 20\S+Z: see that it is captured by then, or void/,
      ),
    ]);
    expect(await stepsOf(later)).toEqual(['Nothing.']);
  });

  test('of one that is being voided is to see that its message gets to a worker', async () => {
    const hold = await aHold(dataSource, 'voiding');
    expect((await stepsOf(hold)).join()).toMatch(/is being voided: message \d+ waits for a relay since 20/);
    await database.query(`DELETE FROM outbox WHERE aggregate_id = $1`, [hold.authRequestId]);
    expect(await stepsOf(hold)).toEqual([
      expect.stringMatching(
        /is being voided, and no message of it is in the outbox: the sweeper sends it again\. If it has ended/,
      ),
    ]);
  });

  test('an id of a processor is quoted for a shell', async () => {
    const hold = await aHold(dataSource, 'void_failed', { processorAuthId: "it's $HOME" });
    expect((await stepsOf(hold)).at(-1)).toContain(`--processor stripe --id 'it'\\''s $HOME' --by <you>`);
  });
});

test('each event of a hold is one line: who told what of which hold, and what stays', async () => {
  const { requests, locks, lease, authRequestId } = await aRequest(dataSource, { started: true });
  const named = { processorName: 'stripe', processorAuthId: 'pi_1' };
  const ref = { restaurantId: RESTAURANT, authRequestId, ...named };
  const told = { ...ref, source: 'stripe', amountCents: 1050, currency: 'USD' };
  const holdExpiresAt = new Date('2030-01-01T00:00:00Z');
  await holds.report({ ...told, told: 'authorized', sourceEventId: 'evt_1', holdExpiresAt });
  await requests.recordAuthorized(lease, anAuthorization(named));
  await requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: 'left', idempotencyKey: uuidv4() });
  const failure = { ...named, errorCode: 'timeout', errorMessage: 'no answer' };
  await holds.recordVoidFailure(lease, { ...failure, retryable: true, nextRetryAt: new Date('2031-01-01T00:00:00Z') });
  await holds.recordVoidFailure(lease, { ...failure, errorCode: 'closed', errorMessage: 'account', retryable: false });
  await holds.requeueVoid({ ...ref, by: 'ada', reason: 'it is open again' });
  await holds.recordVoided(lease, named);
  await holds.report({ ...told, told: 'captured', sourceEventId: 'evt_2', amountCents: 700 });
  await holds.report({ ...told, told: 'lapsed', sourceEventId: 'evt_3' });
  await holds.recordEnd({ ...ref, end: 'captured', amountCents: 700, by: 'bob', reason: 'refunded' });
  await locks.release(lease);
  const { events, holds: inspected } = await inspectRequest(dataSource, authRequestId);
  expect(events.filter(({ type }) => /Hold|AuthVoid(?!Requested)/.test(type)).map(({ says }) => says)).toEqual([
    'stripe (evt_1) told that it holds 1050 USD until 2030-01-01T00:00:00.000Z as pi_1 at stripe',
    expect.stringMatching(/^pi_1 at stripe was not voided: timeout no answer \(failure 1, again at 2031-01-01T\S+Z\)$/),
    'pi_1 at stripe was not voided: closed account (failure 2, for good)',
    'ada asked for a void of pi_1 at stripe: it is open again',
    'pi_1 at stripe was voided',
    'stripe (evt_2) told that pi_1 at stripe was captured, 700 USD',
    'stripe (evt_3) told that pi_1 at stripe has lapsed, 1050 USD; it stays captured',
    'bob wrote down that pi_1 at stripe was captured, 700: refunded',
  ]);
  expect(inspected).toEqual([
    expect.objectContaining({ ...named, state: 'captured', closedBy: 'bob', isListed: false }),
  ]);
});
