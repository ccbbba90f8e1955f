import { AUTHORIZE } from '../../src/auth-requests/authorize';
import { best, type Comparison } from '../contestant';
import { type Lab, poolOf } from '../lab/lab';
import { valuesOfOne } from './authorize/request';

const ROWS = 64;

/** What holds each row to its rules; keys and NOT NULL stay. */
const DROP_CHECKS = `
  DO $$
  DECLARE each record;
  BEGIN
    FOR each IN SELECT conrelid::regclass AS tab, conname FROM pg_constraint
                WHERE contype = 'c' AND conrelid IN ('payment_events'::regclass, 'auth_request_state'::regclass,
                                                     'outbox'::regclass, 'auth_idempotency_keys'::regclass)
    LOOP
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', each.tab, each.conname);
    END LOOP;
  END $$`;

/** What the checks of the tables still cost where one statement writes many requests. */
export const checks: Comparison = {
  name: 'checks',
  title: `Accept ${ROWS} requests in one statement, with and without the checks of the tables`,
  unit: 'requests',
  reference: best('with'),
  ours: ['with'],
  bars: [],
  onlyInFull: true,

  async prepare(lab) {
    const [checked, unchecked] = [poolOf(await lab.migratedDatabase()), poolOf(await lab.migratedDatabase())];
    await unchecked.query(DROP_CHECKS);
    const load = { callers: 2 };
    return [
      { name: 'with', title: 'the statement for many, as it is', load, operate: writing(checked, lab.restaurants) },
      { name: 'without', title: 'the same, all checks dropped', load, operate: writing(unchecked, lab.restaurants) },
    ];
  },
};

function writing(pool: ReturnType<typeof poolOf>, restaurants: Lab['restaurants']): () => Promise<number> {
  const { name, text } = AUTHORIZE.many;
  return async () => {
    const rows = Array.from({ length: ROWS }, () => valuesOfOne(restaurants));
    const values = rows[0]!.map((_, column) => rows.map((row) => row[column]));
    const { rowCount } = await pool.query({ name, text, values });
    if (rowCount !== ROWS) throw new Error('the statement did not write all requests');
    return ROWS;
  };
}
