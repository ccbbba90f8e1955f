import { type DataSource } from 'typeorm';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError } from '../errors';
import { type FieldDifference, differencesBetween, rebuiltFields } from './differences';
import { type FoldedRequest } from './fold';
import { foldStream } from './fold-stream';
import { readRecords } from './read-records';
import { type ReadShape, readShape, readZones, type Zones } from './read-shape';

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
  /** Of the tables, as they were for it. */
  shape: ReadShape;
  zones: Zones;
}

/** @throws AuthRequestNotFoundError, UnfoldableStreamError, PendingMigrationsError, LegacyTimeZoneError */
export async function planRebuild(
  dataSource: DataSource,
  session: Session,
  authRequestId: string,
): Promise<RebuildPlan> {
  const shape = await readShape(dataSource, session);
  const zones = await readZones(dataSource, session, shape);
  const [record] = await readRecords(session, [authRequestId], { shape, zones });
  if (!record) throw new AuthRequestNotFoundError(authRequestId);
  const row = foldStream(authRequestId, record.events);
  // The row itself knows best when it was first settled and since when it is unsettled, if it says anything.
  if (row.completedAt && record.row?.completedAt) row.completedAt = record.row.completedAt;
  if (row.unansweredSince && record.row?.unansweredSince) row.unansweredSince = record.row.unansweredSince;
  const differences = differencesBetween(record.row, row, rebuiltFields(shape));
  const outcome = !record.row ? 'created' : differences.length > 0 ? 'replaced' : 'unchanged';
  const lastEventId = record.events.at(-1)!.eventId;
  return { rebuild: { authRequestId, outcome, differences }, row, lastEventId, shape, zones };
}
