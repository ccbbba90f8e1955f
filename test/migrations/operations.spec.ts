import '../../src';
import '../../src/outbox/outbox-relay';
import { operations } from '../../src/database/operation';
import { recordsIn } from '../../src/read-model/read-records';
import { AS_THEY_ARE } from '../../src/read-model/read-shape';
import { replacingIn } from '../../src/read-model/replace-row';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

/** Names inside the SQL are not the compiler's: the server knows them, of every version that is tested. */
const database = useTestDatabase();

/** These differ by how far the migrations are; other tests run them at each step. */
const NEWEST = { hasAttempts: true, hasHolds: true, hasRestaurants: true, eventsLackZone: false, rowsLackZone: false };
recordsIn(NEWEST, AS_THEY_ARE);
replacingIn(NEWEST, AS_THEY_ARE);

const statements = [...operations.values()].flatMap(({ one, many }) => (many ? [one, many] : [one]));

test('there are operations, and one of them has a form for many', () => {
  expect(operations.size).toBeGreaterThan(25);
  expect(statements.map(({ name }) => name)).toContainEqual(expect.stringMatching(/^authorize_many_[0-9a-f]{12}$/));
});

test('the server knows a name from none', async () => {
  expect(await refusal(database.query('PREPARE wrong AS SELECT nothing_of_that_name'))).toMatchObject({
    code: '42703',
  });
});

test.each(statements.map((statement) => [statement.name!, statement] as const))(
  '%s names what is there, each with its type',
  async (name, { text }) => {
    await database.query(`PREPARE "${name}" AS ${text}`);
  },
);
