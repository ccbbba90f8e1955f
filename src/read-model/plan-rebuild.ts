import { type DataSource } from 'typeorm';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, WrongShardError } from '../errors';
import { readFence } from '../fence/read-fence';
import { owns } from '../fence/residue';
import { type FieldDifference, differencesBetween, rebuiltFields } from './differences';
import { type FoldedRequest } from './fold';
import { foldStream } from './fold-stream';
import { type HoldDifference, holdDifferencesBetween } from './hold-differences';
import { readRecords } from './read-records';
import { type ReadShape, readShape, readZones, type Zones } from './read-shape';

/** What rebuilding a request changes. */
export interface Rebuild {
  readonly authRequestId: string;
  /** `unchanged`: the row and its holds are right, and nothing is written. `created`: there is no row before. */
  readonly outcome: 'unchanged' | 'replaced' | 'created';
  /** The row before (`inRow`) and after (`byEvents`). Empty where it is unchanged. */
  readonly differences: FieldDifference[];
  /** The holds that change, before (`inRow`) and after (`byEvents`). Left out where none does. */
  readonly holds?: HoldDifference[];
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

/**
 * The row would not be stopped by the fence, which is on the tables that operations write.
 *
 * @throws AuthRequestNotFoundError, WrongShardError, UnfoldableStreamError, PendingMigrationsError, LegacyTimeZoneError
 */
export async function planRebuild(
  dataSource: DataSource,
  session: Session,
  authRequestId: string,
): Promise<RebuildPlan> {
  const shape = await readShape(dataSource, session);
  const zones = await readZones(dataSource, session, shape);
  const [record] = await readRecords(session, [authRequestId], { shape, zones });
  if (!record) throw new AuthRequestNotFoundError(authRequestId);
  const fence = await readFence(session);
  if (fence && record.restaurantId !== null && !owns(fence, record.restaurantId)) throw new WrongShardError();
  const row = foldStream(authRequestId, record.events);
  // The row itself knows best when it was first settled and since when it is unsettled, if it says anything.
  if (row.completedAt && record.row?.completedAt) row.completedAt = record.row.completedAt;
  if (row.unansweredSince && record.row?.unansweredSince) row.unansweredSince = record.row.unansweredSince;
  const differences = differencesBetween(record.row, row, rebuiltFields(shape));
  const holds = shape.hasHolds ? holdDifferencesBetween(record.holds, row.holds) : [];
  const isRight = record.row && differences.length === 0 && holds.length === 0;
  const outcome = isRight ? 'unchanged' : record.row ? 'replaced' : 'created';
  const lastEventId = record.events.at(-1)!.eventId;
  const rebuild = { authRequestId, outcome, differences, ...(holds.length > 0 && { holds }) } as const;
  return { rebuild, row, lastEventId, shape, zones };
}
