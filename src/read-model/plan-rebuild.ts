import { type DataSource, type EntityManager } from 'typeorm';
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
  authRequestId: string,
  manager?: EntityManager,
): Promise<RebuildPlan> {
  const shape = await readShape(dataSource, manager);
  const zones = await readZones(dataSource, shape, manager);
  const [record] = await readRecords(dataSource, [authRequestId], { shape, zones }, manager);
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
