import { Pool } from 'pg';
import { type Contestant } from '../../contestant';
import { HelperProcess } from '../../lab/helper-process';
import { type Lab, STAYS_CONNECTED } from '../../lab/lab';
import { Histogram } from '../../measure/histogram';

/** About what it gets through. */
const JOBS_PER_SECOND = 10_000;

const jobsIn = (seconds: number) => Math.ceil(seconds * JOBS_PER_SECOND);

const FILL = `SELECT graphile_worker.add_job('message', json_build_object('payload', repeat('x', 80)))
  FROM generate_series(1, $1::integer)`;

/** Jobs that wait, in tables that are analysed. */
export async function addJobs(pool: Pool, jobs: number): Promise<void> {
  await pool.query(FILL, [jobs]);
  await pool.query('VACUUM (ANALYZE)');
}

const LEFT = 'SELECT count(*)::integer AS left FROM graphile_worker._private_jobs';

/** A database of its own with the tables of graphile-worker, and a process that runs it. Undefined where it is not installed. */
export async function graphileDatabase(lab: Lab): Promise<{ pool: Pool; helper: HelperProcess } | undefined> {
  const url = await lab.emptyDatabase();
  const helper = HelperProcess.start(lab, 'graphile-worker', 'comparisons/relay/graphile-worker.mjs', url);
  if (!helper) return undefined;
  await helper.ask('migrate');
  const pool = new Pool({ connectionString: url, max: lab.settings.connections, ...STAYS_CONNECTED });
  lab.atEnd(() => pool.end());
  return { pool, helper };
}

/** graphile-worker, which fetches and completes many jobs at a time. Empty where it is not installed. */
export async function graphileWorker(lab: Lab): Promise<Contestant[]> {
  const database = await graphileDatabase(lab);
  if (!database) return [];
  const { pool, helper } = database;
  return [
    {
      name: 'graphile-worker',
      title: 'graphile-worker 0.18, a local queue of 500',
      load: { callers: 1 },
      beforeSample: (seconds) => addJobs(pool, jobsIn(seconds)),
      async run(seconds) {
        const jobs = jobsIn(seconds);
        const elapsedMs = await helper.ask(`complete ${jobs}`);
        const { rows } = await pool.query<{ left: number }>(LEFT);
        if (rows[0]?.left !== 0) throw new Error('graphile-worker has left jobs behind');
        return { operations: jobs, elapsedMs, latencies: new Histogram() };
      },
    },
  ];
}
