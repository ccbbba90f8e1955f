import { type DataSource } from 'typeorm';
import { PaymentEventsDbError } from '../errors';
import { migrations } from '../migrations';
import { knownMigrations, nameOf } from './history';

/** A DataSource has migrations that are not of this package beside those that are. Nothing was changed. */
export class ForeignMigrationsError extends PaymentEventsDbError {
  readonly code = 'FOREIGN_MIGRATIONS';

  constructor(readonly names: readonly string[]) {
    super(
      `These migrations are not of this package:\n${names.map((name) => `  ${name}\n`).join('')}` +
        'In its history they would stop every other version of it from migrating. Run them from a second DataSource, ' +
        'with another migrationsTableName, on your own tables: the documentation has how.',
    );
  }
}

/** @throws ForeignMigrationsError where ours and others would share one history */
export function assertOursAlone(dataSource: DataSource): void {
  const ours = new Set(migrations.map(({ name }) => name));
  const names = givenNames(dataSource);
  const foreign = names.filter((name) => !ours.has(name));
  if (foreign.length > 0 && foreign.length < names.length) throw new ForeignMigrationsError(foreign);
}

/** What the DataSource was given: classes, whose name is the migration's, or the names of files. */
function givenNames(dataSource: DataSource): string[] {
  const given: unknown[] = Object.values(dataSource.options.migrations ?? {});
  const classes = given.filter((each) => typeof each === 'function');
  return classes.length === given.length ? classes.map(({ name }) => name) : knownMigrations(dataSource).map(nameOf);
}
