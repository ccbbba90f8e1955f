import { type QueryRunner } from 'typeorm';
import { query, sql } from '../database/sql';
import { type Obstacle } from './dependents';
import { nameOf } from './history';
import { type Step } from './names-taken';

const FENCES = sql`
  SELECT format('%s of table %s', conname, relname) AS fence FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
  WHERE relnamespace = current_schema()::regnamespace AND contype = 'c' AND conname = relname || '_shard'
  ORDER BY relname`;

/**
 * Before ExpandColumns an event does not say which restaurant it is of: taking that column back would take the fence of the
 * events with it, and the database would take any restaurant without a word.
 */
export async function findFences(queryRunner: QueryRunner, steps: readonly Step[]): Promise<Obstacle[]> {
  const step = steps.find((one) => one.direction === 'down' && nameOf(one.migration).startsWith('ExpandColumns'));
  if (!step) return [];
  const fences = await query<{ fence: string }>(queryRunner, FENCES);
  return fences.map(({ fence }) => ({
    migration: nameOf(step.migration),
    reason: `Fence ${fence} would not be kept. Take the fence off first (removeFence), once no other database has restaurants.`,
  }));
}
