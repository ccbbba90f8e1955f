import { type MigrationInterface } from 'typeorm';
import { type Queryable } from '../database/queryable';
import { isLook } from '../migrations/helpers/own-objects';
import { ObjectsInTheWayError } from './errors';
import { plannedSql } from './planned-sql';

/** What is to be run or reverted. */
export interface Step {
  readonly migration: MigrationInterface;
  readonly direction: 'up' | 'down';
}

/**
 * Looks for all that would stop one of the steps since it has a name that the step needs. Changes nothing.
 *
 * @throws ObjectsInTheWayError naming every one
 */
export async function assertNothingInTheWay(session: Queryable, steps: readonly Step[]): Promise<void> {
  const looks = new Set<string>();
  for (const { migration, direction } of steps) {
    for (const sql of (await plannedSql(migration))[direction].filter(isLook)) looks.add(sql);
  }
  const found: string[] = [];
  for (const look of looks) {
    await session.query(look).catch((error: Error & { code?: string }) => {
      if (error.code !== RAISED) throw error;
      found.push(error.message);
    });
  }
  if (found.length > 0) throw new ObjectsInTheWayError(found);
}

/** SQLSTATE raise_exception. */
const RAISED = 'P0001';
