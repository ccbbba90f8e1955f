import { type QueryRunner } from 'typeorm';
import { interceptQueries } from '../database/intercept-queries';

class CutOff extends Error {}

/** Runs a migration up to and including its n-th statement, settings, statistics and looks aside; true if there was one more to come. */
export async function isCutOff(session: QueryRunner, n: number, run: () => Promise<void>): Promise<boolean> {
  let statements = 0;
  const cutAfterN = (sql: string, send: () => Promise<unknown>) => {
    if (statements >= n) throw new CutOff(`after ${n} statements`);
    if (!/^((SET|RESET) (?!LOCAL)|ANALYZE|-- Only looks)/.test(sql)) statements++;
    return send();
  };
  try {
    await interceptQueries(session, async (sql, send) => cutAfterN(sql, send), run);
    return false;
  } catch (error) {
    if (error instanceof CutOff) return true;
    throw error;
  }
}
