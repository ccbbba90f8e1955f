import { IsOptional } from 'class-validator';
import { type DataSource, type MigrationInterface } from 'typeorm';
import { Callable } from '../validation/option-rules';
import { Flag } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { MIGRATIONS_TABLE } from '../schema/objects';
import {
  completeHistory,
  ENDING_STATEMENT,
  fullName,
  halfApplied,
  isRecorded,
  knownMigrations,
  type MigrationRecord,
  nameOf,
  namesOf,
  readHistory,
  recordingStatement,
  timestampOf,
} from './history';
import { type Say, toLogger, withMigrationLock } from './migration-lock';

/** What else a stamp may be told. */
export class StampOptions {
  /** Only says what would be done. Default false. */
  @IsOptional()
  @Flag()
  dryRun?: boolean;

  /** Is told when it waits for another migrator. Default: the DataSource's logger. */
  @IsOptional()
  @Callable()
  say?: Say;
}

/** What a stamp did to the history, or would do: names of migrations. */
export interface Stamp {
  /** Recorded as applied. */
  readonly recorded: readonly string[];
  /** Recorded with the checksum that the code has now. */
  readonly mended: readonly string[];
  /** No longer called half applied. */
  readonly ended: readonly string[];
  /** No longer recorded as applied: those after the one named, and those that the code does not know. */
  readonly removed: readonly string[];
}

/**
 * Has the history say that the database was migrated up to and including `name`, and no further, and runs nothing: for
 * one that was brought to that schema by other means. Whether it has that schema is not looked at. What the history
 * knows of when and by whom a migration was applied stays.
 *
 * ```ts
 * const { mended } = await stamp(dataSource, 'GuardPaymentEvents');
 * ```
 *
 * @throws NoSuchMigrationError, MigrationInProgressError, ConfigurationError before anything is changed
 */
export async function stamp(dataSource: DataSource, name: string, options?: StampOptions): Promise<Stamp> {
  const { dryRun = false, say = toLogger(dataSource) } = validateSettings({ StampOptions }, options);
  const last = timestampOf(fullName(dataSource, name));
  const stamped = knownMigrations(dataSource).filter((migration) => timestampOf(nameOf(migration)) <= last);
  if (dryRun) return compare(await readHistory(dataSource), stamped);
  return await withMigrationLock(dataSource, say, async (queryRunner) => {
    await completeHistory(dataSource, queryRunner);
    const changes = compare(await readHistory(dataSource, queryRunner), stamped);
    await queryRunner.query(await stampingStatement(stamped));
    return changes;
  });
}

function compare(history: readonly MigrationRecord[], stamped: readonly MigrationInterface[]): Stamp {
  const names = new Set(stamped.map(nameOf));
  const [kept, others] = [true, false].map((isKept) => history.filter(({ name }) => names.has(name) === isKept));
  const begun = halfApplied(history);
  return {
    recorded: kept!.filter((migration) => !isRecorded(migration)).map(({ name }) => name),
    mended: namesOf(kept!, 'changed'),
    ended: begun ? [begun.name] : [],
    removed: others!.filter(isRecorded).map(({ name }) => name),
  };
}

/** One transaction. Every row gets a new id, for migrations are reverted in the order of these. */
async function stampingStatement(stamped: readonly MigrationInterface[]): Promise<string> {
  const names = stamped.map((migration) => `'${nameOf(migration)}'`);
  const statements = [ENDING_STATEMENT, `DELETE FROM ${MIGRATIONS_TABLE} WHERE name NOT IN (${names.join(', ')})`];
  for (const migration of stamped) {
    statements.push(`${await recordingStatement(migration)}
  ON CONFLICT (name) DO UPDATE SET id = EXCLUDED.id, checksum = EXCLUDED.checksum`);
  }
  return statements.join(';\n');
}
