import { type DataSource, MigrationExecutor } from 'typeorm';
import { PaymentEventsDbError } from '../errors';

/** One migration and whether the database has it; `unknown` is one that the database has and this code has not. */
export interface MigrationState {
  readonly name: string;
  readonly state: 'applied' | 'pending' | 'unknown';
}

/** The database was migrated by other code than this. Nothing was changed. */
export class UnknownMigrationsError extends PaymentEventsDbError {
  readonly code = 'UNKNOWN_MIGRATIONS';
}

/** What was asked for needs migrations that the database does not have yet. Nothing was changed. */
export class PendingMigrationsError extends PaymentEventsDbError {
  readonly code = 'PENDING_MIGRATIONS';
}

/** Every migration of the code in its order, then those that only the database knows. Reads, never writes. */
export async function readHistory(dataSource: DataSource): Promise<MigrationState[]> {
  const executed = new Set((await new MigrationExecutor(dataSource).getExecutedMigrations()).map(({ name }) => name));
  const known = knownMigrations(dataSource);
  return [
    ...known.map((name): MigrationState => ({ name, state: executed.has(name) ? 'applied' : 'pending' })),
    ...[...executed]
      .filter((name) => !known.includes(name))
      .map((name): MigrationState => ({ name, state: 'unknown' })),
  ];
}

/** The names of the code's migrations, oldest first. A name ends in its time, 13 digits of milliseconds. */
export function knownMigrations(dataSource: DataSource): string[] {
  const names = dataSource.migrations.map((migration) => migration.name ?? migration.constructor.name);
  return names.sort((a, b) => timestampOf(a) - timestampOf(b));
}

export const timestampOf = (name: string): number => Number(name.slice(-13));

/** @throws UnknownMigrationsError where the database has migrations that this code has not. */
export function assertNoneUnknown(history: MigrationState[]): void {
  const names = named(history, 'unknown');
  if (names.length === 0) return;
  throw new UnknownMigrationsError(
    `The database has migrations that this version of the code does not know:\n${lines(names)}\n` +
      'It was migrated by a newer version or another branch. Check out that version and go on there, or revert them ' +
      'with it (npm run migration:revert).',
  );
}

/** @throws PendingMigrationsError where the database lacks migrations of this code. */
export function assertNonePending(history: MigrationState[]): void {
  const names = named(history, 'pending');
  if (names.length === 0) return;
  throw new PendingMigrationsError(
    `The database lacks these migrations:\n${lines(names)}\nRun ./scripts/migrate_payment_events_db.sh first.`,
  );
}

const named = (history: MigrationState[], state: MigrationState['state']) =>
  history.filter((migration) => migration.state === state).map(({ name }) => name);
const lines = (names: string[]) => names.map((name) => `  ${name}`).join('\n');
