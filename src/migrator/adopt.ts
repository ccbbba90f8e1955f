import { IsOptional } from 'class-validator';
import { type DataSource, type QueryRunner } from 'typeorm';
import { PaymentEventsDbError } from '../errors';
import { Callable } from '../validation/option-rules';
import { Flag, Text } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { type AlembicRevision, MIRRORED_REVISIONS, mirroredRevision } from './alembic';
import { readCatalog } from '../schema/catalog';
import { alembicCatalogs } from '../schema/catalogs';
import { indexesOf } from './changes';
import { compareCatalogs, type Drift } from '../schema/compare-catalogs';
import { describeDrift } from '../schema/describe-drift';
import { assertSound, completeHistory, knownMigrations, nameOf, readHistory, recordingStatement } from './history';
import { type LegacyClock, legacyClocks } from './legacy-clocks';
import { ADOPT_AGAIN, legacyTimeZone, LegacyTimeZoneError, recordedTimes, recordTimeZone } from './legacy-time-zone';
import { withoutTimeouts } from '../migrations/helpers/locking';
import { type Say, toLogger, withMigrationLock } from './migration-lock';
import { type Obstacle } from './dependents';
import { columnsInUtc, describeObstacle, findObjects, findRows } from './obstacles';
import { assertOursAlone } from './foreign-migrations';
import { isHarmless } from './harmless-drift';

/** How to take a database over from Alembic. */
export class AdoptOptions {
  /** The zone in which the old rows were written, such as `Europe/Berlin`. Default: UTC, if nothing speaks against it. */
  @IsOptional()
  @Text(1, 255)
  legacyTimeZone?: string;

  /** Looks at everything and changes nothing. Default false. */
  @IsOptional()
  @Flag()
  dryRun?: boolean;

  /** Is told when it waits for another migrator. Default: the DataSource's logger. */
  @IsOptional()
  @Callable()
  say?: Say;
}

/** What was found of a database that Alembic made, and what was done about it or would be. */
export interface Adoption {
  readonly outcome: 'adopted' | 'would_be_adopted' | 'adopted_already';
  /** Alembic's. Null where it was adopted already. */
  readonly revision: AlembicRevision | null;
  /** The migrations that are recorded as applied now. */
  readonly recorded: readonly string[];
  /** The zone from which the times of the old rows are converted, but for those of `legacyClocks`. */
  readonly legacyTimeZone: string;
  /** The times that the legacy services wrote by their own clock, and its zone. Empty where it was adopted already. */
  readonly legacyClocks: readonly LegacyClock[];
  /** Privileges that were granted on the tables, which stay: Alembic's revisions know of none. */
  readonly grants: readonly string[];
  /** What else differs from the revision, does no harm and stays: storage settings, an index that somebody added and the like. */
  readonly kept: readonly string[];
  /** What would stop migrations that are still to run. They look again before they begin. */
  readonly obstacles: readonly Obstacle[];
}

/** The schema is not the one that Alembic's revision makes. Nothing was changed. */
export class SchemaDriftError extends PaymentEventsDbError {
  readonly code = 'SCHEMA_DRIFT';

  constructor(
    readonly revision: string,
    readonly drift: readonly Drift[],
    /** What would stop later migrations besides. */
    readonly obstacles: readonly Obstacle[] = [],
  ) {
    super(
      `The schema is not that of Alembic revision ${revision} (-), but has (+):\n` +
        drift.flatMap(describeDrift).join('\n') +
        obstacles.map((one) => `\nWould also stop ${describeObstacle(one)}`).join('') +
        '\nIt was changed by hand. Change it back, then run this again.',
    );
  }
}

/**
 * Takes over a database that Alembic made, with all its rows: makes sure that its schema is that of the revision which
 * `alembic_version` names, and records the migrations that make the same one as applied. Touches no table but that of
 * the history; legacy services may go on, and Alembic's own history stays. Running it again changes nothing.
 *
 * ```ts
 * const { recorded } = await adopt(dataSource, { legacyTimeZone: 'Europe/Berlin' });
 * ```
 *
 * @throws NotMadeByAlembicError, UnknownAlembicRevisionError, SchemaDriftError, LegacyTimeZoneError,
 *   UnknownMigrationsError, ChangedMigrationsError, MigrationInProgressError, InvalidCommandError, ConfigurationError
 *   before anything is changed
 */
export async function adopt(dataSource: DataSource, given?: AdoptOptions): Promise<Adoption> {
  const options = validateSettings({ AdoptOptions }, given);
  const { say = toLogger(dataSource) } = options;
  return await withMigrationLock(dataSource, say, (queryRunner) => adoptAlone(dataSource, queryRunner, options));
}

async function adoptAlone(
  dataSource: DataSource,
  queryRunner: QueryRunner,
  { legacyTimeZone: given, dryRun = false }: AdoptOptions,
): Promise<Adoption> {
  assertOursAlone(dataSource);
  const history = await readHistory(dataSource, queryRunner);
  assertSound(history);
  if (history.some(({ state }) => state === 'applied')) return await adoptedAlready(queryRunner, given);

  const revision = await mirroredRevision(queryRunner);
  const drift = compareCatalogs(alembicCatalogs[revision], await readCatalog(queryRunner));
  const known = knownMigrations(dataSource);
  const mirrored = MIRRORED_REVISIONS.indexOf(revision) + 1;
  const [mirror, later] = [known.slice(0, mirrored), known.slice(mirrored)];
  const steps = later.map((migration) => ({ migration, direction: 'up' as const }));
  const objects = await findObjects(queryRunner, steps);
  const ourIndexes = await indexesOf(later);
  const grants = drift.filter(isGrant);
  const kept = drift.filter((one) => !isGrant(one) && isHarmless(one, objects, ourIndexes));
  const differences = drift.filter((one) => !grants.includes(one) && !kept.includes(one));
  if (differences.length > 0) throw new SchemaDriftError(revision, differences, objects);

  const zone = await legacyTimeZone(queryRunner, given);
  const clocks = await withoutTimeouts(queryRunner, () => legacyClocks(queryRunner, zone));
  const rows = await findRows(queryRunner, steps, { zone, inUtc: columnsInUtc(clocks) });

  if (!dryRun) {
    await queryRunner.startTransaction();
    try {
      await completeHistory(dataSource, queryRunner);
      for (const migration of mirror) await queryRunner.query(await recordingStatement(migration));
      if (zone !== 'UTC') await recordTimeZone(queryRunner, zone, columnsInUtc(clocks));
      await queryRunner.commitTransaction();
    } catch (error) {
      await queryRunner.rollbackTransaction();
      throw error;
    }
  }
  return {
    outcome: dryRun ? 'would_be_adopted' : 'adopted',
    revision,
    recorded: mirror.map(nameOf),
    legacyTimeZone: zone,
    legacyClocks: clocks,
    grants: grants.map(({ object }) => object),
    kept: kept.map(({ object }) => object),
    obstacles: [...objects, ...rows],
  };
}

const isGrant = ({ object }: Drift) => object.includes(': grant ');

async function adoptedAlready(queryRunner: QueryRunner, given: string | undefined): Promise<Adoption> {
  const { zone: recorded } = await recordedTimes(queryRunner);
  if (given !== undefined && (await legacyTimeZone(queryRunner, given)) !== recorded) {
    throw new LegacyTimeZoneError(`This database was adopted with times of ${recorded} before. ${ADOPT_AGAIN}`);
  }
  return {
    outcome: 'adopted_already',
    revision: null,
    recorded: [],
    legacyTimeZone: recorded,
    legacyClocks: [],
    grants: [],
    kept: [],
    obstacles: [],
  };
}
