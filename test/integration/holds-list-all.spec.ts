import { Holds } from '../../src/auth-requests/holds/holds';
import { IS_LISTED } from '../../src/auth-requests/holds/standing';
import { aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

/** Every hold that the table can hold: nobody closes one that has not ended. */
const MAKE_ALL = `
  INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
    authorized_at, hold_expires_at, state, is_needed, is_answered, closed_by, first_event_sequence, last_event_sequence)
  SELECT $1, $2, 'stripe', concat_ws(' ', state, CASE WHEN is_needed THEN 'needed' END, expires, closed_by), 1, 'USD',
    now(), now() + expires::interval, state, is_needed, is_answered, closed_by, 1, 1
  FROM unnest('{held,voiding,voided,void_failed,captured,lapsed}'::text[]) AS state,
       unnest('{true,false}'::boolean[]) AS is_needed, (VALUES ('1 hour'), ('-1 hour'), (NULL)) AS life (expires),
       (VALUES ('ada'), (NULL)) AS closing (closed_by), (VALUES (true)) AS answer (is_answered)
  WHERE NOT (is_needed AND state IN ('voiding', 'void_failed'))
    AND (closed_by IS NULL OR state IN ('voided', 'captured', 'lapsed'))`;

/** What the words of the promise say, in SQL that knows no index. */
const MAY_STAND = `
  SELECT processor_auth_id AS id FROM auth_holds
  WHERE state NOT IN ('voided', 'captured', 'lapsed') AND (hold_expires_at IS NULL OR hold_expires_at > now())
     OR state = 'captured' AND NOT is_needed AND closed_by IS NULL`;

test('of all holds that there can be, exactly those that may stand or were captured unneeded are listed, summed and shown as such', async () => {
  const dataSource = await database.dataSource();
  const holds = new Holds(dataSource);
  const { authRequestId } = await aRequest(dataSource);
  await database.query(MAKE_ALL, [authRequestId, RESTAURANT]);
  const idsBy = async (text: string) => (await database.query<{ id: string }>(text)).map(({ id }) => id).sort();
  const expected = await idsBy(MAY_STAND);
  const listed = await holds.list();
  expect(expected).toHaveLength(11);
  expect(listed.map(({ processorAuthId }) => processorAuthId).sort()).toEqual(expected);
  expect(await idsBy(`SELECT processor_auth_id AS id FROM auth_holds WHERE ${IS_LISTED}`)).toEqual(expected);
  const { totals } = await holds.totals();
  expect(totals.reduce((sum, { count }) => sum + count, 0)).toBe(expected.length);
  // Each is needed, is being voided, or waits for a person: the filters leave nothing out and have nothing twice.
  for (const { because, isForAPerson, isNeeded, state } of listed) {
    expect([isNeeded, state === 'voiding', isForAPerson].filter(Boolean)).toHaveLength(1);
    expect(totals).toContainEqual(expect.objectContaining({ because, state, isForAPerson }));
  }
  const [forPersons, others] = [await holds.list({ forAPerson: true }), await holds.list({ forAPerson: false })];
  expect(forPersons.every(({ isForAPerson }) => isForAPerson)).toBe(true);
  expect([...forPersons, ...others]).toHaveLength(expected.length);
});
