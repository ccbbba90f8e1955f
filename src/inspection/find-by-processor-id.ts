import { create, toBinary } from '@bufbuild/protobuf';
import { type DataSource } from 'typeorm';
import { bytea, text } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { sessionOf } from '../database/session';
import { DatabaseTimeoutError, PermissionDeniedError } from '../errors';
import { AuthorizationResultSchema } from '../protobuf/generated/payments/v1/events_pb';
import { Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';

/** What a processor calls an authorization. */
class ProcessorIdCommand {
  @Text(1, 255)
  processorAuthId: string;
}

/** Requests that one id of a processor stands in. */
export interface ProcessorIdMatches {
  /** At most 100. */
  readonly requests: readonly { readonly authRequestId: string; readonly restaurantId: string }[];
  /**
   * Whether events were searched as well: only where no row names the id, and where the role may read their contents and the
   * statement was not timed out.
   */
  readonly eventsSearched: boolean;
}

interface Match {
  auth_request_id: string;
  restaurant_id: string;
}

const MOST = 100;

const IN_ROWS = operation({
  name: 'find_processor_id_in_rows',
  input: { processor_auth_id: text },
  output: rowsOf<Match>(),
  sql: `
  SELECT auth_request_id, restaurant_id FROM auth_request_state JOIN input USING (processor_auth_id)
  ORDER BY created_at DESC LIMIT ${MOST}`,
});

/** By its bytes in the message, since events of legacy services say it nowhere else. */
const IN_EVENTS = operation({
  name: 'find_processor_id_in_events',
  input: { field: bytea },
  output: rowsOf<Match>(),
  sql: `
  SELECT DISTINCT aggregate_id AS auth_request_id, restaurant_id FROM payment_events CROSS JOIN input
  WHERE event_type = 'AuthResponseReceived' AND position(field IN event_data) > 0
  LIMIT ${MOST}`,
});

/**
 * Finds requests by the id that a processor gave an authorization: in rows first, which name the first authorization of a
 * request; where none does, in events, which also have those that came too late.
 *
 * No index serves it: it reads the table of requests, and where it has to the table of events, each until
 * `statementTimeoutMs` of the DataSource (default 30 seconds).
 *
 * @throws {InvalidCommandError} it is not text of 1 to 255 characters
 * @throws {DatabaseTimeoutError} retryable: reading the rows took too long
 * @throws {PermissionDeniedError} the role must not read requests
 *
 * @example
 * const { requests } = await findByProcessorId(dataSource, 'pi_3OqFbW');
 * if (requests.length === 1) console.log(await inspectRequest(dataSource, requests[0].authRequestId));
 */
export async function findByProcessorId(dataSource: DataSource, processorAuthId: string): Promise<ProcessorIdMatches> {
  validateCommand(ProcessorIdCommand, { processorAuthId });
  const session = sessionOf(dataSource);
  const named = await session.rows(IN_ROWS, { processor_auth_id: processorAuthId });
  if (named.length > 0) return { requests: named.map(toMatch), eventsSearched: false };
  try {
    const found = await session.rows(IN_EVENTS, { field: fieldOf(processorAuthId) });
    return { requests: found.map(toMatch), eventsSearched: true };
  } catch (error) {
    if (!(error instanceof DatabaseTimeoutError || error instanceof PermissionDeniedError)) throw error;
    return { requests: [], eventsSearched: false };
  }
}

const toMatch = ({ auth_request_id, restaurant_id }: Match) => ({
  authRequestId: auth_request_id,
  restaurantId: restaurant_id,
});

/** Tag, length and text: no longer id has them in itself. */
const fieldOf = (processorAuthId: string) =>
  toBinary(AuthorizationResultSchema, create(AuthorizationResultSchema, { processorAuthId }));
