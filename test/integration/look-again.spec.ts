import { lookAgain } from '../../src/database/look-again';
import { failureOf } from '../support/processes/within';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase({ empty: true });

/** A look at a view that another session is dropping: it waits for that, and then finds it gone. */
async function beingDropped<T>(look: (oid: number) => Promise<T>): Promise<T> {
  await database.query('CREATE VIEW passing AS SELECT 1 AS one');
  const [row] = await database.query<{ oid: number }>(`SELECT 'passing'::regclass::oid AS oid`);
  const other = await database.connect();
  await other.query('BEGIN; DROP VIEW passing');
  const looking = look(row!.oid);
  const waits = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
  while ((await database.query(waits)).length === 0);
  await other.query('COMMIT');
  return await looking;
}
const DEFINITION = 'SELECT pg_get_viewdef($1::oid) AS definition';

test('what another session drops while it is read is read again', async () => {
  const looks: unknown[] = [];
  const look = (oid: number) => async () => looks.push(await database.query(DEFINITION, [oid]));
  await beingDropped((oid) => lookAgain(look(oid)));
  expect(looks).toEqual([[{ definition: null }]]);
});

test('within a transaction, where nothing can be read again, the failure is the one that came first', async () => {
  const session = await database.connect();
  await session.query('BEGIN');
  const error = await failureOf(beingDropped((oid) => lookAgain(() => session.query(DEFINITION, [oid]))));
  await session.query('ROLLBACK');
  expect(error).toMatchObject({ code: 'XX000' });
});

test('what fails otherwise, or each time, fails', async () => {
  expect(await failureOf(lookAgain(() => database.query('SELECT 1 / 0')))).toMatchObject({ code: '22012' });
  let looks = 0;
  const broken = async () => {
    looks += 1;
    await database.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX000'; END $$`);
  };
  expect(await failureOf(lookAgain(broken))).toMatchObject({ code: 'XX000' });
  expect(looks).toBe(10);
});

test('what is not whole is read again, until it is', async () => {
  let looks = 0;
  const look = () => Promise.resolve((looks += 1));
  expect(await lookAgain(look, (found) => found === 3)).toBe(3);
});
