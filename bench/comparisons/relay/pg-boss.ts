import { Pool } from 'pg';
import { type Contestant } from '../../contestant';
import { HelperProcess } from '../../lab/helper-process';
import { type Lab, STAYS_CONNECTED } from '../../lab/lab';

/** More than it gets through. */
const JOBS_PER_SECOND = 60_000;

/** pg-boss, fetch and complete, on a database of its own. Empty where it is not installed. */
export async function pgBoss(lab: Lab, batchSize: number): Promise<Contestant[]> {
  const url = await lab.emptyDatabase();
  const helper = HelperProcess.start(lab, 'pg-boss', 'comparisons/relay/pg-boss-worker.mjs', url);
  if (!helper) return [];
  const pool = new Pool({ connectionString: url, max: 1, ...STAYS_CONNECTED });
  lab.atEnd(() => pool.end());
  let pending = 0;
  return [
    {
      name: 'pg-boss',
      title: 'pg-boss 12, fetch and complete',
      load: { callers: 1 },
      async beforeSample(seconds) {
        const lacking = Math.ceil(seconds * JOBS_PER_SECOND) - pending;
        if (lacking <= 0) return;
        pending += await helper.ask(`insert ${lacking}`);
        // On a table that was never analysed it does a fifth of what it can.
        await pool.query('VACUUM (ANALYZE)');
      },
      async operate() {
        const completed = await helper.ask(`complete ${batchSize}`);
        if (completed < batchSize) throw new Error(`pg-boss got through ${JOBS_PER_SECOND} jobs a second: insert more`);
        pending -= completed;
        return completed;
      },
    },
  ];
}
