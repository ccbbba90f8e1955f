import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../database/sql';
import { resetUnlogged, setUnlogged, UNLOGGED_AS_FAR_AS_ALLOWED } from '../../database/unlogged-setting';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { isPlainConnection } from './connection';
import { SplitRefusedError } from './errors';
import { type SplitSession } from './split-session';
import { assertNotFailing, assertWhole, readStanding, SLOT, type Standing } from './standing';
import { PUBLICATION_NAMES } from './tables';

/** How often it is looked whether the copy is there, in milliseconds, and how often it is said how far it is. */
const LOOK_MS = 200;
const SAY_MS = 5_000;

/**
 * Has the target copy what moves and follow from there, and waits until every table is so far.
 *
 * The slot is made first and by itself, which waits for the transactions that write then. CREATE SUBSCRIPTION would make it as
 * well, but it waits for itself where both databases are of one server, and leaves a slot behind where it is interrupted.
 */
export async function subscribe(session: SplitSession, standing: Standing): Promise<void> {
  if (standing.isHandedOver) return;
  assertWhole('subscribe', standing);
  if (!standing.source.mark || !standing.target.mark) {
    throw new SplitRefusedError('subscribe', ['Nothing is published yet: prepare and publish come first.']);
  }
  if (!standing.target.hasSubscription) {
    await assertFit(session);
    await noteTimeline(session, standing);
  }
  if (!standing.source.hasSlot) {
    session.say('Making the replication slot, for which transactions that write now are waited for …');
    await session.online('source', `SELECT FROM pg_create_logical_replication_slot(${SLOT}, 'pgoutput')`);
  }
  if (!standing.target.hasSubscription) await createSubscription(session);
  if (!session.isDryRun) await untilReady(session);
}

/** A failover before lost nothing: what there is at the target is there. From here on it would. */
async function noteTimeline(session: SplitSession, { target: { mark, timeline } }: Standing): Promise<void> {
  if (mark?.timeline === timeline) return;
  await session.whileLocked(
    'target',
    `COMMENT ON PUBLICATION ${SPLIT_MARK} IS '${JSON.stringify({ ...mark, timeline })}'`,
  );
}

const UNREADABLE =
  "The connection string of PAYMENT_EVENTS_DB_SPLIT_CONNECTION cannot be read: keyword='value', without spaces around =, in which " +
  "\\' stands for a quote and \\\\ for a backslash; or a URL whose user and password are percent-encoded. It is not quoted here, for its password.";

const UNFIT = sql`
  SELECT format('%s needs TEMPORARY on the database of the target: GRANT TEMPORARY ON DATABASE %I TO %1$I.', current_user, current_database())
    AS problem
  WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
  UNION ALL
  SELECT format('log_min_messages of the target is %s, at which PostgreSQL writes the connection string into its log: set info or higher.',
    current_setting('log_min_messages'))
  WHERE current_setting('log_min_messages') LIKE '%debug%'`;

async function assertFit(session: SplitSession): Promise<void> {
  const problems = (await session.read<{ problem: string }>('target', UNFIT)).map(({ problem }) => problem);
  if (!isPlainConnection(session.ends.connection)) problems.push(UNREADABLE);
  if (problems.length > 0) throw new SplitRefusedError('subscribe', problems);
}

/** SQLSTATE external_routine_exception, in the place of one that means that our own connection is gone. */
const UNREACHABLE = '38000';

/** SQLSTATE syntax_error, as libpq's parser of connection strings has it. */
const SYNTAX_ERROR = '42601';

const CONNECTION = 'payment_events_db.split_connection';

/**
 * The connection string is in a setting, and the error comes without the statement around it, or the piece of the string that
 * libpq could not read: neither the server's log nor ours has the password. The statement is PL/pgSQL since DDL takes no values.
 */
const createStatement = (slot: string) => `DO $do$
BEGIN
  ${UNLOGGED_AS_FAR_AS_ALLOWED}
  EXECUTE format('CREATE SUBSCRIPTION ${SPLIT_MARK} CONNECTION %L PUBLICATION ${PUBLICATION_NAMES.join(', ')}
    WITH (create_slot = false, slot_name = ''${slot}'')', current_setting('${CONNECTION}'));
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION USING ERRCODE = CASE WHEN SQLSTATE LIKE '08%' THEN '${UNREACHABLE}' ELSE SQLSTATE END,
    MESSAGE = CASE SQLSTATE WHEN '${SYNTAX_ERROR}' THEN 'The connection string of a subscription cannot be read.' ELSE SQLERRM END;
END $do$`;

async function createSubscription(session: SplitSession): Promise<void> {
  const [found] = await session.read<{ slot: string }>('source', { text: `SELECT ${SLOT} AS slot`, values: [] });
  if (!session.isDryRun) await setUnlogged(session.at('target'), CONNECTION, session.ends.connection);
  try {
    await session.online('target', createStatement(found!.slot));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === SYNTAX_ERROR) throw new SplitRefusedError('subscribe', [UNREADABLE]);
    if (code !== UNREACHABLE) throw error;
    throw new SplitRefusedError('subscribe', [
      `The server of the target cannot connect to the source: ${message.split('\n', 1)[0]}`,
      'Say by which address and login it reaches the source, one with REPLICATION: PAYMENT_EVENTS_DB_SPLIT_CONNECTION.',
    ]);
  } finally {
    if (!session.isDryRun) await resetUnlogged(session.at('target'), CONNECTION);
  }
}

async function untilReady(session: SplitSession): Promise<void> {
  const { target: before } = await readStanding(session);
  for (let waited = 0; ; waited += LOOK_MS) {
    const standing = await readStanding(session);
    assertWhole('subscribe', standing);
    const { ready, of } = standing.target;
    if (ready === of) return;
    assertNotFailing('subscribe', before, standing);
    if (waited % SAY_MS === 0) session.say(`${ready} of ${of} tables are copied and follow the source …`);
    await sleep(LOOK_MS);
  }
}
