import { type DataSource, type EntityManager } from 'typeorm';
import { AuthRequestNotFoundError } from '../errors';
import { type FieldDifference, differencesBetween, REBUILT_FIELDS } from './differences';
import { type FoldedRequest } from './fold';
import { foldStream } from './fold-stream';
import { readRecords } from './read-records';

/** What rebuilding a request changes. */
export interface Rebuild {
  readonly authRequestId: string;
  /** `unchanged`: the row is right, and nothing is written. `created`: there is no row before. */
  readonly outcome: 'unchanged' | 'replaced' | 'created';
  /** The row before (`inRow`) and after (`byEvents`). Empty where it is unchanged. */
  readonly differences: FieldDifference[];
}

/** A rebuild together with what it would write. */
export interface RebuildPlan {
  rebuild: Rebuild;
  row: FoldedRequest;
  /** For a row that is created. */
  lastEventId: string;
}

/** @throws {AuthRequestNotFoundError} @throws {UnfoldableStreamError} */
export async function planRebuild(
  dataSource: DataSource,
  authRequestId: string,
  manager?: EntityManager,
): Promise<RebuildPlan> {
  const [record] = await readRecords(dataSource, [authRequestId], undefined, manager);
  if (!record) throw new AuthRequestNotFoundError(authRequestId);
  const row = foldStream(authRequestId, record.events);
  // The row itself knows best when it was first settled and since when it is unsettled, if it says anything.
  if (row.completedAt && record.row?.completedAt) row.completedAt = record.row.completedAt;
  if (row.unansweredSince && record.row?.unansweredSince) row.unansweredSince = record.row.unansweredSince;
  const differences = differencesBetween(record.row, row, REBUILT_FIELDS);
  const outcome = !record.row ? 'created' : differences.length > 0 ? 'replaced' : 'unchanged';
  return { rebuild: { authRequestId, outcome, differences }, row, lastEventId: record.events.at(-1)!.eventId };
}
