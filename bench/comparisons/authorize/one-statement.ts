import { type Pool } from 'pg';
import { AUTHORIZE } from '../../../src/auth-requests/authorize';
import { valuesOfOne } from './request';

/** The operation's statement through `pg` alone: what is left when everything around it costs nothing. */
export function bareStatement(
  pool: Pool,
  restaurants: readonly string[],
  { name }: { name?: string },
): () => Promise<unknown> {
  return async () => {
    const { rowCount } = await pool.query({ name, text: AUTHORIZE.one.text, values: valuesOfOne(restaurants) });
    if (rowCount !== 1) throw new Error('the statement wrote nothing');
  };
}
