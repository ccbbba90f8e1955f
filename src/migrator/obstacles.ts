import { type QueryRunner } from 'typeorm';
import { query, sql } from '../database/sql';
import { PaymentEventsDbError } from '../errors';
import { changesOf } from './changes';
import { type ChangingStep, findDependents, type Obstacle } from './dependents';
import { nameOf } from './history';
import { type LegacyClock, legacyClocks } from './legacy-clocks';
import { ADOPT_AGAIN, LegacyTimeZoneError, recordedTimes } from './legacy-time-zone';
import { withoutTimeouts } from '../migrations/helpers/locking';
import { findMissingRights } from './missing-rights';
import { findFences } from './fences';
import { REPORTING_SCHEMA } from '../schema/objects';
import { type Step } from './names-taken';
import { findUnfitTimes } from './unfit-times';
import { findUnknownRestaurants } from './unknown-restaurants';

/** Something that is not ours, or a row, or a right that is missing would stop migrations half-way. Nothing was changed. */
export class MigrationObstaclesError extends PaymentEventsDbError {
  readonly code = 'MIGRATION_OBSTACLES';

  constructor(readonly obstacles: readonly Obstacle[]) {
    super(
      `These would stop the migrations. None has run:\n${obstacles.map((one) => `  ${describeObstacle(one)}\n`).join('')}` +
        'Drop such an object and create it again after the migrations; correct such rows, grant such rights. Then run this again.' +
        (obstacles.some(({ reason }) => reason.startsWith(`view ${REPORTING_SCHEMA}_`))
          ? `\nViews of ${REPORTING_SCHEMA}_… are for reports: npx payment-events-db reporting drop --views-only, and afterwards ` +
            'npx payment-events-db reporting renew.'
          : ''),
    );
  }
}

/** One line. */
export const describeObstacle = ({ migration, reason }: Obstacle): string => `${migration}: ${reason}`;

/** In which zones the old times are. */
export interface LegacyTimes {
  readonly zone: string;
  /** Columns of auth_request_state that are in UTC all the same. */
  readonly inUtc: readonly string[];
}

/**
 * Looks at all that can be seen before the first of these steps begins. Reads only.
 *
 * @throws MigrationObstaclesError where something would stop one of them
 */
export async function assertNoObstacles(queryRunner: QueryRunner, steps: readonly Step[]): Promise<void> {
  const obstacles = [
    ...(await findFences(queryRunner, steps)),
    ...(await findObjects(queryRunner, steps)),
    ...(await findRows(queryRunner, steps)),
  ];
  if (obstacles.length > 0) throw new MigrationObstaclesError(obstacles);
}

/** Objects of others and missing rights. */
export async function findObjects(queryRunner: QueryRunner, steps: readonly Step[]): Promise<Obstacle[]> {
  const changing: ChangingStep[] = [];
  for (const { migration, direction } of steps) {
    changing.push({ migration: nameOf(migration), changes: await changesOf(migration, direction) });
  }
  const [first] = changing;
  if (!first) return [];
  const rights = await findMissingRights(queryRunner);
  return [
    ...rights.map((reason) => ({ migration: first.migration, reason })),
    ...(await findDependents(queryRunner, changing)),
  ];
}

/**
 * Rows. They are read in full, without the connection's time-out.
 *
 * @param times where they are not in the history yet
 */
export async function findRows(
  queryRunner: QueryRunner,
  steps: readonly Step[],
  times?: LegacyTimes,
): Promise<Obstacle[]> {
  const obstacles: Obstacle[] = [];
  await withoutTimeouts(queryRunner, async () => {
    for (const step of steps.filter(({ direction }) => direction === 'up')) {
      const migration = nameOf(step.migration);
      const find = LOOKS[migration.slice(0, -13)];
      if (find) obstacles.push(...(await find(queryRunner, times)).map((reason) => ({ migration, reason })));
    }
  });
  return obstacles;
}

/** What is looked for, by the name of the migration without its time. */
const LOOKS: Record<string, (queryRunner: QueryRunner, times: LegacyTimes | undefined) => Promise<string[]>> = {
  ContractTimestamps: findWrongTimes,
  ContractRestaurants: findUntoldRestaurants,
};

/** Legacy services may have written since they were looked at, and by another clock. */
async function findWrongTimes(queryRunner: QueryRunner, given: LegacyTimes | undefined): Promise<string[]> {
  const { zone, inUtc } = given ?? (await recordedTimes(queryRunner));
  const unfit = await findUnfitTimes(queryRunner, zone, inUtc);
  if (given || zone === 'UTC' || !(await areAllPlain(queryRunner))) return unfit;
  try {
    const found = columnsInUtc(await legacyClocks(queryRunner, zone));
    const changed = [...found, ...inUtc].filter((column) => !found.includes(column) || !inUtc.includes(column));
    return [...unfit, ...changed.map((column) => `auth_request_state.${column} ${NOT_AS_ADOPTED}`)];
  } catch (error) {
    if (error instanceof LegacyTimeZoneError) return [...unfit, error.message];
    throw error;
  }
}

const PLAIN_TIMES = sql`
  SELECT FROM pg_attribute WHERE attrelid IN (to_regclass('payment_events'), to_regclass('auth_request_state'))
    AND attname IN ('created_at', 'completed_at') AND atttypid = 'timestamp'::regtype`;

/** Whether the conversion has not begun. */
async function areAllPlain(queryRunner: QueryRunner): Promise<boolean> {
  return (await query(queryRunner, PLAIN_TIMES)).length === 3;
}

const NOT_AS_ADOPTED = `is in another zone than when the database was adopted. ${ADOPT_AGAIN}`;

export const columnsInUtc = (clocks: readonly LegacyClock[]): string[] =>
  clocks.filter(({ zone }) => zone === 'UTC').map(({ column }) => column);

async function findUntoldRestaurants(queryRunner: QueryRunner): Promise<string[]> {
  const unknown = await findUnknownRestaurants(queryRunner);
  if (unknown.length === 0) return [];
  return [
    `The restaurant is unknown for: ${unknown.join(', ')}. No read model row, idempotency key or event names it. Once ` +
      `ExpandColumns has run, set it by hand, for example UPDATE outbox SET restaurant_id = '<restaurant>' ` +
      `WHERE aggregate_id = '<request>'; or delete the row if it is not needed.`,
  ];
}
