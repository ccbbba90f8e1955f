import { setTimeout as sleep } from 'node:timers/promises';
import { query, raw, sql } from '../../database/sql';
import { dropFence, FENCED_TABLES, fenceOf, inClass } from '../../fence/fence-sql';
import { addReceives, dropReceives } from '../../fence/receives';
import { isSameClass } from '../../fence/residue';
import { removeFenceBy, setFenceBy } from '../../fence/set-fence';
import { numberOf } from '../../fence/sequence-range';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { catchUp } from './catch-up';
import { type ShardMap } from '../shard-map';
import { isCleanUpMarked } from './clean-up-mark';
import { SplitRefusedError } from './errors';
import { type SplitSession } from './split-session';
import { isAnotherServer, isFence, type Standing } from './standing';
import { TABLES } from './tables';
import { tidySource } from './tidy-source';

const BATCH_SIZE = 1_000;
const LOOK_MS = 50;

/**
 * Gives the source back what it had, as long as the target has taken no writes of its own. The target is closed for good: its
 * events cannot be deleted, so that the next try needs a new database. In this order:
 *
 * 1. The target refuses every restaurant, and follows no more. Where the source has begun to hand messages over, the target
 *    has caught up before.
 * 2. Messages that the source has deleted and nobody has delivered come back, the oldest first.
 * 3. The fence of the source is what it was.
 * 4. The slot and the publications of the source go.
 */
export async function undo(session: SplitSession, standing: Standing, map: ShardMap): Promise<void> {
  if (map.shards.some((entry) => isSameClass(entry, session.moves))) {
    throw new SplitRefusedError('undo', ['The map has the target: give all services the old one again first.']);
  }
  const { source, target, isHandedOver, isForgotten } = standing;
  const isFenced = isFence(source.fence, session.stays);
  const isClosed = target.fence === 'altered';
  // Any empty database stands in for a target that is lost, as long as nothing was handed over.
  const isTarget = isHandedOver || isForgotten || isClosed || target.mark !== undefined || target.hasSubscription;
  if (isFenced && !isTarget) {
    throw new SplitRefusedError('undo', [
      'This is not the target: messages that the source has handed over would be lost. Where that one is gone for good, drop its slot ' +
        `at the source (SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '${SPLIT_MARK}\\_%' ` +
        'AND database = current_database()), widen the fence of the source by setFence, undo again, and let the sweeper send what is missing.',
    ]);
  }
  if (!isFenced && !isForgotten && !source.mark && !target.mark && !target.hasSubscription) {
    return session.say('Nothing is to be undone: the source has all of its restaurants.');
  }
  if (isFenced) await assertNotCleaned(session);
  if (isHandedOver) await assertUntouched(session);
  if (isFenced && target.hasSubscription && !standing.broken) await catchUp(session, 'undo');
  if (isTarget && !isClosed) await close(session, standing);
  if (isFenced) {
    if (isAnotherServer(target))
      session.say('The target may lack messages that the source has handed over: the sweeper sends them again.');
    await bringMessagesBack(session);
    await restoreFence(session, standing);
  }
  await tidySource(session, standing);
}

/** By what is left that could not be told: keys, holds and messages may be gone, and the requests all there. */
async function assertNotCleaned(session: SplitSession): Promise<void> {
  if (!(await isCleanUpMarked(session))) return;
  throw new SplitRefusedError('undo', [
    'The source was cleaned up, or that was begun: going back would lose what was deleted. Go on with the target.',
  ]);
}

const requestsOf = (moves: string) => sql`
  SELECT count(*)::text AS requests,
    (SELECT concat_ws(' ', count(*), extract(epoch FROM max(updated_at))) FROM restaurant_payment_configs WHERE ${raw(moves)}) AS configs
  FROM auth_request_state WHERE ${raw(moves)}`;

/**
 * @throws SplitRefusedError the target has written of its own, or rows of the source were deleted by hand
 */
async function assertUntouched(session: SplitSession): Promise<void> {
  await assertNumber(session);
  const compared = requestsOf(inClass(session.moves));
  type Row = { requests: string; configs: string };
  const [[atSource], [atTarget]] = [
    await session.scan<Row>('source', compared),
    await session.scan<Row>('target', compared),
  ];
  if (atSource!.requests !== atTarget!.requests || atSource!.configs !== atTarget!.configs) throw tooLate();
}

/** After the end of the cut-over no mark says which number the split had. By a greater one no write of the target is seen. */
async function assertNumber(session: SplitSession): Promise<void> {
  const [{ last }] = (await session.read<{ last: string }>(
    'target',
    sql`SELECT last_value::text AS last FROM payment_events_id_seq`,
  )) as [{ last: string }];
  if (BigInt(last) >= session.first) return;
  throw new SplitRefusedError('undo', [`The split had another number: --number ${numberOf(BigInt(last))}.`]);
}

const tooLate = () =>
  new SplitRefusedError('undo', [
    'The target has written of its own, or rows of the source were deleted: going back would lose that. Go on with the target.',
  ]);

/** Every write of money draws from one of them, after it has the table that is locked here. */
const stopIfDrawn = (first: bigint) => `DO $$
BEGIN
  IF (SELECT max(last_value) FROM pg_sequences
      WHERE schemaname = current_schema() AND sequencename IN ('payment_events_id_seq', 'outbox_id_seq')) > ${first} THEN
    RAISE EXCEPTION USING ERRCODE = '${TOO_LATE}', MESSAGE = 'The target has written of its own.';
  END IF;
END $$`;

/** SQLSTATE object_not_in_prerequisite_state. */
const TOO_LATE = '55000';

/** Locked against writers first, so that none of them comes between the look and the fence. */
async function close(session: SplitSession, { target, source, isHandedOver, isForgotten }: Standing): Promise<void> {
  if (target.hasSubscription) {
    if (target.isEnabled) await session.whileLocked('target', `ALTER SUBSCRIPTION ${SPLIT_MARK} DISABLE`);
    await endCopies(session, source.hasSlot);
  }
  const closing = [
    // First: it ends its workers, which may have tables locked.
    ...(target.hasSubscription ? DROP_SUBSCRIPTION : []),
    `LOCK TABLE ${FENCED_TABLES.join(', ')}, outbox IN ACCESS EXCLUSIVE MODE`,
    // Before it has taken over it takes no writes.
    ...(isHandedOver || isForgotten ? [stopIfDrawn(session.first)] : []),
    ...FENCED_TABLES.flatMap((table) => [
      dropFence(table),
      `ALTER TABLE ${table} ADD CONSTRAINT ${fenceOf(table)} CHECK (false) NOT VALID`,
    ]),
    ...TABLES.map(dropReceives),
    // No relay delivers what is left there.
    addReceives('outbox'),
    `DROP PUBLICATION IF EXISTS ${SPLIT_MARK}`,
  ];
  await session.whileLocked('target', ...closing).catch((error: unknown) => {
    throw (error as { code?: string }).code === TOO_LATE ? tooLate() : error;
  });
}

/**
 * While a table is not copied to its end, dropping it connects to the source, for slots that {@link endCopies} has dropped there. An
 * address that a failover has left behind may not answer, and so it gets one that leads nowhere. The password is none.
 */
const DROP_SUBSCRIPTION = [
  `ALTER SUBSCRIPTION ${SPLIT_MARK} SET (slot_name = NONE)`,
  `ALTER SUBSCRIPTION ${SPLIT_MARK} CONNECTION 'host=/nowhere password=none'`,
  `DROP SUBSCRIPTION ${SPLIT_MARK}`,
];

/** The first copy of a table has a slot of its own as long as it lasts, which is named after the subscription. */
async function endCopies(session: SplitSession, hasSlot: boolean): Promise<void> {
  const [subscription] = await session.read<{ oid: string; system: string }>(
    'target',
    // Of this database: the catalog is that of the server.
    sql`SELECT pg_subscription.oid::text, (SELECT system_identifier::text FROM pg_control_system()) AS system
        FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
        WHERE subname = ${SPLIT_MARK} AND datname = current_database()`,
  );
  if (!subscription || !hasSlot || session.isDryRun) return;
  const copies = sql`SELECT slot_name AS name, active FROM pg_replication_slots
    WHERE slot_name LIKE ${`pg\\_${subscription.oid}\\_sync\\_%\\_${subscription.system}`}`;
  const workers = sql`SELECT FROM pg_stat_subscription WHERE subid = ${subscription.oid}::oid AND pid IS NOT NULL`;
  while ((await session.read('target', workers)).length > 0) await sleep(LOOK_MS);
  for (;;) {
    const slots = await session.read<{ name: string; active: boolean }>('source', copies);
    if (slots.length === 0) return;
    for (const { name, active } of slots) {
      if (!active) await session.read('source', sql`SELECT pg_drop_replication_slot(${name})`);
    }
    await sleep(LOOK_MS);
  }
}

const messagesAfter = (id: string, moves: string) => sql`
  SELECT id::text, to_jsonb(outbox) AS row FROM outbox
  WHERE processed_at IS NULL AND ${raw(moves)} AND id > ${id}::bigint ORDER BY id LIMIT ${raw(BATCH_SIZE)}`;

/** Of a source that was promoted, and was behind, another message may have got the id by now. */
const bringBack = (rows: unknown[]) => sql`
  INSERT INTO outbox
  SELECT (jsonb_populate_record(given, CASE WHEN here.id IS NULL THEN '{}' ELSE jsonb_build_object('id', nextval('outbox_id_seq')) END)).*
  FROM jsonb_populate_recordset(NULL::outbox, ${JSON.stringify(rows)}::jsonb) AS given LEFT JOIN outbox AS here USING (id)
  WHERE (here.aggregate_id = given.aggregate_id AND here.created_at = given.created_at) IS NOT TRUE
  ON CONFLICT (id) DO NOTHING`;

/** The oldest first: a relay sends the next one of an aggregate only once it is there. */
async function bringMessagesBack(session: SplitSession): Promise<void> {
  const moves = inClass(session.moves);
  for (let last = '0'; ;) {
    const messages = await query<{ id: string; row: unknown }>(session.at('target'), messagesAfter(last, moves));
    if (messages.length === 0 || session.isDryRun) return;
    await session.read('source', bringBack(messages.map(({ row }) => row)));
    last = messages.at(-1)!.id;
  }
}

async function restoreFence(session: SplitSession, { source }: Standing): Promise<void> {
  const { whole } = session.ends;
  // Once it is handed over no mark says whether there was a fence. One that takes every restaurant stops nobody, and services with a map
  // do not open a database without.
  if (whole.modulus === 1 && source.mark?.fenced === false) {
    return await session.by('source', '-- removeFence', removeFenceBy);
  }
  const what = `-- setFence: CHECK (${inClass(whole)}) NOT VALID ON ${FENCED_TABLES.join(', ')}`;
  await session.by('source', what, (queryRunner) => setFenceBy(queryRunner, whole, { widen: true }));
}
