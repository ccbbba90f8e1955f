import { type DataSource } from 'typeorm';
import { text } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { sessionOf } from '../database/session';
import { IS_OWNED, ownedColumns, readOwned } from '../fence/owned';
import { Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';

/** What a processor calls an authorization. */
class ProcessorIdCommand {
  @Text(1, 255)
  processorAuthId: string;
}

/** A request that an id of a processor stands in. */
export interface ProcessorIdMatch {
  readonly authRequestId: string;
  readonly restaurantId: string;
}

interface Match {
  auth_request_id: string;
  restaurant_id: string;
}

const MOST = 100;

/** By idx_auth_holds_processor. Once a request, also where two processors have the id. */
const IN_HOLDS = operation({
  name: 'find_processor_id_in_holds',
  input: { processor_auth_id: text, ...ownedColumns },
  output: rowsOf<Match>(),
  sql: `
  SELECT auth_request_id, restaurant_id FROM auth_holds JOIN input USING (processor_auth_id)
  WHERE ${IS_OWNED}
  GROUP BY auth_request_id, restaurant_id
  ORDER BY max(authorized_at) DESC, auth_request_id DESC LIMIT ${MOST}`,
});

/** Rows of clients from before there were holds, which still run or whose event is missing. */
const IN_ROWS = operation({
  name: 'find_processor_id_in_rows',
  input: { processor_auth_id: text, ...ownedColumns },
  output: rowsOf<Match>(),
  sql: `
  SELECT auth_request_id, restaurant_id FROM auth_request_state JOIN input USING (processor_auth_id)
  WHERE ${IS_OWNED}
  ORDER BY created_at DESC LIMIT ${MOST}`,
});

/**
 * Finds requests by the id that a processor gave an authorization: at most 100, the latest authorization first. Every
 * authorization that was ever reported is a hold, so that an index finds it, also one that came too late.
 *
 * What a split has moved to another database is not found here, also where it has left rows: look for it there.
 *
 * There are no further pages: an id stands for one authorization. A hundred requests with the same one are a client that does
 * not know the id and writes something in its place, which names no request: look for those in `auth_holds` by what is known else.
 *
 * Where no hold has the id, it is looked for in the rows of requests, which name their first authorization: a client from
 * before there were holds may have written one. No index serves that: it reads the whole table, until `statementTimeoutMs` of the
 * DataSource (default 30 seconds).
 *
 * @throws {InvalidCommandError} it is not text of 1 to 255 characters
 * @throws {DatabaseTimeoutError} retryable: no hold has it, and reading the rows took too long
 * @throws {PermissionDeniedError} the role must not read requests
 * @throws {ConfigurationError} the fences of the tables do not agree
 * @throws {WrongShardError} a split sends restaurants to this database, which has none yet
 *
 * @example
 * const [found, ...others] = await findByProcessorId(dataSource, 'pi_3OqFbW');
 * if (found && others.length === 0) console.log(await inspectRequest(dataSource, found.authRequestId));
 */
export async function findByProcessorId(dataSource: DataSource, processorAuthId: string): Promise<ProcessorIdMatch[]> {
  validateCommand({ ProcessorIdCommand }, { processorAuthId });
  const session = sessionOf(dataSource);
  const named = { processor_auth_id: processorAuthId, ...(await readOwned(session)) };
  const held = await session.rows(IN_HOLDS, named);
  const found = held.length > 0 ? held : await session.rows(IN_ROWS, named);
  return found.map(({ auth_request_id: authRequestId, restaurant_id: restaurantId }) => ({
    authRequestId,
    restaurantId,
  }));
}
