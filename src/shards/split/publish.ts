import { SPLIT_MARK } from '../../migrator/split-under-way';
import { SplitRefusedError } from './errors';
import { type SplitSession } from './split-session';
import { assertWhole, type Mark, type Standing } from './standing';
import { createPublications, WHOLE_ROWS_IN_WAL } from './tables';

/**
 * Publishes what moves, at the source. In one transaction: an UPDATE that is published and does not have the columns of the
 * filter in the WAL would be refused. The tables are locked for an instant.
 */
export async function publish(session: SplitSession, standing: Standing): Promise<void> {
  const { source, target, isHandedOver } = standing;
  assertWhole('publish', standing);
  if (source.mark || isHandedOver) return;
  if (!target.mark) throw new SplitRefusedError('publish', ['The target is not ready: prepare comes first.']);
  const mark: Mark = {
    ...{ id: target.mark.id, moves: session.moves, number: session.ends.number },
    fenced: source.fence !== undefined,
  };
  await session.whileLocked(
    'source',
    ...WHOLE_ROWS_IN_WAL,
    ...createPublications(session.moves),
    `COMMENT ON PUBLICATION ${SPLIT_MARK} IS '${JSON.stringify(mark)}'`,
  );
}
