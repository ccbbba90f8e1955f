import pc from 'picocolors';
import { type DatabaseAddress } from '../../src/database/database-address';
import { stateInWords } from '../../src/cli/state-in-words';
import { type DatabaseDescription } from './describe-database';

/** Prints what is in a database: one line a fact, so that it can be searched. */
export function printDescription(
  { host, port, database }: DatabaseAddress,
  { serverVersion, migrations, tables }: DatabaseDescription,
): void {
  const width = Math.max(0, ...tables.map(({ name }) => name.length));
  console.log(`\n${pc.bold(`${database} at ${host}:${port}`)}, PostgreSQL ${serverVersion}`);
  console.log(pc.bold('\nMigrations'));
  for (const { name, state } of migrations) console.log(`  ${MARKS[state]} ${name} ${pc.dim(stateInWords(state))}`);
  console.log(pc.bold('\nTables'));
  for (const { name, rows, estimated } of tables) {
    console.log(`  ${name.padEnd(width)}  ${estimated ? 'about ' : ''}${rows.toLocaleString('en-US')} rows`);
  }
}

const MARKS = {
  applied: pc.green('✓'),
  half_applied: pc.red('½'),
  pending: pc.yellow('·'),
  unknown: pc.red('?'),
  changed: pc.red('≠'),
};
