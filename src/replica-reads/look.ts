import { type Row } from '../auth-requests/auth-request';
import { ONE_PAGE, ONE_REQUEST, pageColumns, type PageRow, requestColumns } from '../auth-requests/queries';
import { arrayOf, integer, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';

/** A connection that the network swallows would be kept for as long as a statement may take. */
const ANSWER_WITHIN_MS = 5_000;

type Nothing<R> = { readonly [Column in keyof R]: null };

/**
 * One statement, so that what is compared and what is shown are of one snapshot. The server that answers says in it whether it
 * follows another one: what is read on one that has just been promoted was read as its own.
 */
export const LOOK_FOR_REQUEST = operation({
  name: 'look_for_request',
  input: { ...requestColumns, at_least: integer },
  output: rowsOf<{ follows: boolean } & (Row | Nothing<Row>)>(),
  answerWithinMs: ANSWER_WITHIN_MS,
  sql: `
    SELECT pg_is_in_recovery() AS follows, request.*
    FROM (SELECT) AS always
    LEFT JOIN (${ONE_REQUEST} WHERE last_event_sequence >= (SELECT at_least FROM input)) AS request ON true`,
});

/**
 * The same for a page. A replica takes over transactions whole and in the order in which they committed: where it has those of
 * all that was seen, it has everything that had committed before them. The page is read only where they are there; one row without a
 * request says that they are not, or that the page is empty.
 */
export const LOOK_FOR_PAGE = operation({
  name: 'look_for_page',
  input: { ...pageColumns, seen_ids: arrayOf(uuid), seen_sequences: arrayOf(integer) },
  output: rowsOf<{ follows: boolean; is_there: boolean } & (PageRow | Nothing<PageRow>)>(),
  answerWithinMs: ANSWER_WITHIN_MS,
  sql: `
    WITH replica AS MATERIALIZED (
      SELECT pg_is_in_recovery() AS follows, NOT EXISTS (
        SELECT FROM unnest(seen_ids, seen_sequences) AS seen (auth_request_id, sequence)
        LEFT JOIN auth_request_state AS state
          ON state.auth_request_id = seen.auth_request_id AND state.restaurant_id = input.restaurant_id
        WHERE coalesce(last_event_sequence < sequence, true)
      ) AS is_there
      FROM input
    )
    SELECT follows, is_there, page.*
    FROM replica LEFT JOIN LATERAL (SELECT * FROM (${ONE_PAGE}) AS page WHERE follows AND is_there) AS page ON true
    ORDER BY created_at DESC, auth_request_id DESC`,
});
