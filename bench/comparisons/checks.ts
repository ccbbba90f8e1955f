import { type Pool } from 'pg';
import { AUTHORIZE } from '../../src/auth-requests/authorize';
import { best, type Comparison } from '../contestant';
import { poolOf } from '../lab/lab';
import { valuesOfOne } from './authorize/request';

/** Rows a statement: as many as travel together on a busy service, and one. */
const MANY = 64;

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

/** What the checks of the tables cost, and how much of that is left where one statement writes many requests. */
export const checks: Comparison = {
  name: 'checks',
  title: 'Accept requests with and without the checks of the tables',
  unit: 'requests',
  reference: best(`${MANY} with`),
  ours: [`${MANY} with`, '1 with'],
  bars: [],
  onlyInFull: true,

  async prepare(lab) {
    const [checked, unchecked] = [poolOf(await lab.migratedDatabase()), poolOf(await lab.migratedDatabase())];
    await unchecked.query(DROP_CHECKS);
    return [MANY, 1].flatMap((rows) => {
      // What keeps the server busy without a queue before it.
      const load = { callers: rows === 1 ? lab.settings.connections : 2 };
      const title = rows === 1 ? 'one in a statement' : `${rows} in a statement`;
      const writing = (pool: Pool) => () => write(pool, rows, lab.restaurants);
      return [
        { name: `${rows} with`, title: `${title}, as it is`, load, operate: writing(checked) },
        { name: `${rows} without`, title: `${title}, all checks dropped`, load, operate: writing(unchecked) },
      ];
    });
  },
};

async function write(pool: Pool, count: number, restaurants: readonly string[]): Promise<number> {
  const rows = Array.from({ length: count }, () => valuesOfOne(restaurants));
  const values = count === 1 ? rows[0]! : rows[0]!.map((_, column) => rows.map((row) => row[column]));
  const { rowCount } = await pool.query({ ...(count === 1 ? AUTHORIZE.one : AUTHORIZE.many), values });
  if (rowCount !== count) throw new Error('the statement did not write all requests');
  return count;
}
