import { type DataSource } from 'typeorm';
import { orNull, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { IS_OWNED, ownedColumns, readOwned } from '../fence/owned';
import { type HoldState } from '../auth-requests/holds/states';
import { readShape } from './read-shape';
import { type VerificationScope } from './verification';

/** One authorization of a processor that several requests have, and money that may still be held under it. */
export interface SharedHold {
  readonly processorName: string;
  readonly processorAuthId: string;
  /** By their ids; at most the first 100. */
  readonly holds: readonly HolderOfShared[];
}

/** A request that has a hold which others have too. */
export interface HolderOfShared {
  readonly authRequestId: string;
  readonly restaurantId: string;
  readonly state: HoldState;
  readonly isNeeded: boolean;
}

interface PageRow {
  authRequestId: string;
  processorName: string;
  processorAuthId: string;
  /** Null of a row that only says where the page ends. */
  holds: HolderOfShared[] | null;
  /** Of a full page. */
  isLast: boolean;
}

const PAGE_SIZE = 1_000;
const [FIRST_ID, LAST_ID] = ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'];

/**
 * A page of holds in the order of their keys, with one or two probes of idx_auth_holds_processor each. A shared one is told at the
 * first request that has it; where one request is asked for, at that one.
 */
const PAGE_OF_SHARED = operation({
  name: 'read_model_shared_holds',
  input: {
    after_request: uuid,
    after_name: text,
    after_id: text,
    until_request: uuid,
    wanted_request: orNull(uuid),
    wanted_restaurant: orNull(uuid),
    ...ownedColumns,
  },
  output: rowsOf<PageRow>(),
  sql: `
  WITH page AS (
    SELECT auth_request_id, processor_name, processor_auth_id,
      row_number() OVER (ORDER BY auth_request_id, processor_name, processor_auth_id) = ${PAGE_SIZE} AS is_last
    FROM auth_holds, input
    WHERE (auth_request_id, processor_name, processor_auth_id) > (after_request, after_name, after_id)
      AND auth_request_id <= until_request AND ${IS_OWNED}
    ORDER BY auth_request_id, processor_name, processor_auth_id LIMIT ${PAGE_SIZE}
  ), found AS (
    SELECT page.*, (
      SELECT CASE WHEN
          bool_or(state::text = ANY ('{held,voiding,void_failed}'::text[]) AND closed_by IS NULL
                  AND coalesce(hold_expires_at > now(), true))
          AND bool_or(wanted_restaurant IS NULL OR restaurant_id = wanted_restaurant)
        THEN jsonb_path_query_array(jsonb_agg(jsonb_build_object(
          'authRequestId', auth_request_id, 'restaurantId', restaurant_id, 'state', state, 'isNeeded', is_needed)
          ORDER BY auth_request_id), '$[0 to 99]') END
      FROM auth_holds AS hold
      WHERE (hold.processor_auth_id, hold.processor_name) = (page.processor_auth_id, page.processor_name) AND ${IS_OWNED}
      HAVING count(*) > 1
    ) AS holds
    FROM page, input
    WHERE processor_auth_id <> '' AND (wanted_request IS NOT NULL OR NOT EXISTS (
      SELECT FROM auth_holds AS hold
      WHERE (hold.processor_auth_id, hold.processor_name) = (page.processor_auth_id, page.processor_name) AND ${IS_OWNED}
        AND hold.auth_request_id < page.auth_request_id))
  )
  SELECT auth_request_id AS "authRequestId", processor_name AS "processorName", processor_auth_id AS "processorAuthId", holds,
    page.is_last AS "isLast"
  FROM page LEFT JOIN found USING (auth_request_id, processor_name, processor_auth_id)
  WHERE holds IS NOT NULL OR page.is_last
  ORDER BY auth_request_id, processor_name, processor_auth_id`,
});

/** Walks all holds in pages: memory stays flat, and each statement is short. */
export async function* findSharedHolds(
  dataSource: DataSource,
  session: Session,
  { authRequestId, restaurantId }: VerificationScope,
): AsyncGenerator<SharedHold, void, undefined> {
  const { hasHolds } = await readShape(dataSource, session);
  const own = await readOwned(session);
  let after = { after_request: authRequestId ?? FIRST_ID, after_name: '', after_id: '' };
  for (let isMore = hasHolds; isMore;) {
    const rows = await session.rows(PAGE_OF_SHARED, {
      ...after,
      ...own,
      until_request: authRequestId ?? LAST_ID,
      wanted_request: authRequestId ?? null,
      wanted_restaurant: restaurantId ?? null,
    });
    for (const { processorName, processorAuthId, holds } of rows) {
      if (holds) yield { processorName, processorAuthId, holds };
    }
    isMore = rows.at(-1)?.isLast ?? false;
    if (isMore) after = keyOf(rows.at(-1)!);
  }
}

const keyOf = ({ authRequestId, processorName, processorAuthId }: PageRow) => ({
  ...{ after_request: authRequestId, after_name: processorName, after_id: processorAuthId },
});
