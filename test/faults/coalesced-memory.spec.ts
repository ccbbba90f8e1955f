import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { memoryInUse } from '../support/processes/memory-in-use';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { atOnce, outcomeOf } from '../support/requests/races';
import { POISON, refusePoison } from '../support/requests/together';

const OPERATIONS = 100_000;
const AT_ONCE = 1_000;
const MEASURED_FROM = 20_000;
/** To keep a hundred bytes of each new request would take more. */
const GROWTH_BYTES = 1_500_000;

const database = useTestDatabase();

test(`${OPERATIONS} calls, most of which wait for others, leave nothing behind in memory`, async () => {
  await refusePoison(database);
  const requests = new AuthRequests(await database.dataSource());
  const inUse: number[] = [];
  let refused = 0;
  for (let done = AT_ONCE; done <= OPERATIONS; done += AT_ONCE) {
    // New keys, three calls more of each, and one that the database refuses.
    const commands = Array.from({ length: AT_ONCE / 4 }, () => anAuthorizeCommand());
    commands[7] = anAuthorizeCommand({ paymentToken: POISON });
    const outcomes = await atOnce(AT_ONCE, (index) =>
      outcomeOf(requests.authorize(commands[index % commands.length]!)),
    );
    refused += outcomes.filter((outcome) => outcome === 'ConstraintViolationError').length;
    if (done >= MEASURED_FROM && done % MEASURED_FROM === 0) inUse.push(await memoryInUse());
  }
  expect(refused).toBe((4 * OPERATIONS) / AT_ONCE);
  const [{ written }] = (await database.query('SELECT count(*)::integer AS written FROM auth_request_state')) as [
    { written: number },
  ];
  expect(written).toBe(((AT_ONCE / 4 - 1) * OPERATIONS) / AT_ONCE);
  expect(inUse).toHaveLength(5);
  expect(Math.max(...inUse.slice(1)) - inUse[0]!).toBeLessThan(GROWTH_BYTES);
});
