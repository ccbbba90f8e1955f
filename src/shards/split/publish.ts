import { sql } from '../../database/sql';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { lastEventOf } from './compare-events';
import { SplitRefusedError } from './errors';
import { assertMigrated } from './prepare';
import { type SplitSession } from './split-session';
import { assertWhole, type Mark, type Standing } from './standing';
import { createPublications, TABLES, wholeRowsInWal } from './tables';

/**
 * Publishes what moves, at the source. In one transaction: an UPDATE that is published and does not have the columns of the
 * filter in the WAL would be refused. The tables are locked for an instant.
 *
 * @throws SplitRefusedError; PendingMigrationsError a deployment has changed the schema of one end since it was prepared
 */
export async function publish(session: SplitSession, standing: Standing): Promise<void> {
  const { source, target, isHandedOver } = standing;
  assertWhole('publish', standing);
  if (source.mark || isHandedOver) return;
  if (!target.mark) throw new SplitRefusedError('publish', ['The target is not ready: prepare comes first.']);
  await assertMigrated(session);
  const wholeRows = (await session.read<{ table: string }>('source', WHOLE_ROWS)).map(({ table }) => table);
  const mark: Mark = {
    ...{ id: target.mark.id, moves: session.moves, number: session.ends.number },
    ...{ fenced: source.fence !== undefined, since: await lastEventOf(session), wholeRows },
  };
  await session.whileLocked(
    'source',
    ...wholeRowsInWal(wholeRows),
    ...createPublications(session.moves),
    `COMMENT ON PUBLICATION ${SPLIT_MARK} IS '${JSON.stringify(mark)}'`,
  );
}

/** Tables that have the whole row in the WAL already. */
const WHOLE_ROWS = sql`
  SELECT relname AS table FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${TABLES}) AND relreplident = 'f'
  ORDER BY relname`;
