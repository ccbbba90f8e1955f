import { type MigrationPlan } from '../migrator/plan';
import { VERSION } from '../migrator/version';

/** Prints a plan as a file for psql, or as JSON with a statement a string. */
export function printPlan(plan: MigrationPlan, { json }: { json?: boolean }): void {
  if (json) return console.log(JSON.stringify(plan));
  const { direction, preparation, migrations } = plan;
  if (migrations.length === 0) console.log(`-- No migration is to be ${direction === 'up' ? 'run' : 'reverted'}.`);
  if (preparation.length === 0) return;
  console.log(HEADER);
  const print = (title: string, statements: readonly string[]) =>
    console.log(`\n-- ${title}\n${statements.map((statement) => `${statement};`).join('\n')}`);
  print('Stop if another session migrates, or if the database is not as it was when this plan was made', preparation);
  for (const { name, statements } of migrations) {
    print(`${direction === 'up' ? 'Run' : 'Revert'} ${name}`, statements);
  }
}

const HEADER = `-- Made by payment-events-db ${VERSION}. Run it as the owner of the tables, on a direct connection, in one session:
--   psql -X -v ON_ERROR_STOP=1 -f plan.sql
-- The first failure ends it, such as a lock that could not be taken in time. What it has committed by then stays: make
-- the plan again, and run that.`;
