import { randomUUID } from 'node:crypto';
import { type Pool } from 'pg';
import { AUTHORIZE } from '../../../src/auth-requests/authorize';
import { newId } from '../../../src/database/new-id';
import { anyOf, PREPARED, REQUEST } from './request';

/** The operation's statement through `pg` alone: what is left when everything around it costs nothing. */
export function bareStatement(
  pool: Pool,
  restaurants: readonly string[],
  { name }: { name?: string },
): () => Promise<unknown> {
  return async () => {
    // In the order of the operation's columns, and encoded already.
    const values = [
      randomUUID(),
      anyOf(restaurants),
      newId(),
      PREPARED.fingerprint,
      REQUEST.paymentToken,
      REQUEST.amountCents,
      REQUEST.currency,
      PREPARED.metadata,
      newId(),
      PREPARED.event,
      PREPARED.eventMetadata,
      PREPARED.message,
      PREPARED.headers,
    ];
    const { rowCount } = await pool.query({ name, text: AUTHORIZE.one.text, values });
    if (rowCount !== 1) throw new Error('the statement wrote nothing');
  };
}
