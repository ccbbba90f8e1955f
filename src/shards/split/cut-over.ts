import { sql } from '../../database/sql';
import { FENCED_TABLES, fenceOf, inClass } from '../../fence/fence-sql';
import { dropReceives, RECEIVES } from '../../fence/receives';
import { classInWords } from '../../fence/residue';
import { setFenceBy } from '../../fence/set-fence';
import { SPLIT_MARK } from '../../migrator/split-under-way';
import { catchUp } from './catch-up';
import { compareEvents } from './compare-events';
import { type Disowned, disown } from './disown';
import { SplitRefusedError } from './errors';
import { leaveToTarget } from './leave-to-target';
import { type SplitSession } from './split-session';
import { assertWhole, isFence, readStanding, type Standing } from './standing';
import { sequencesFrom, TABLES } from './tables';
import { tidySource } from './tidy-source';

/**
 * Hands the restaurants that move over to the target. From the fence on until the owner has switched the map nobody takes their
 * writes, so that the target is let catch up before. In this order:
 *
 * 1. The fence of the source narrows. It waits for every transaction that has appended an event, taken a key or written a
 *    configuration: what is committed after it changes nothing of what moves.
 * 2. The target has all of that. Events are counted: most of them before the fence, so that few are left to count here. Where some are
 *    missing, the source still has every message.
 * 3. The source deletes their messages that are not delivered. A relay that has one claimed marks it first; that mark is replicated, the
 *    deletion is not, and nobody at the source can claim it afterwards.
 * 4. The target has every mark.
 * 5. In one transaction the target ends the subscription, moves its sequences on, has its checks again, and takes writes.
 * 6. The source deletes the leases, and messages that were written without an event since 3. and are at the target as well.
 * 7. It drops the slot and the publications. As long as these are there, 6. is done again.
 */
export async function cutOver(session: SplitSession, before: Standing): Promise<void> {
  if (!before.isHandedOver) {
    const { source, target } = before;
    assertWhole('cut-over', before);
    const isCopied = source.mark && target.hasSubscription && target.ready === target.of;
    if (!isCopied && !session.isDryRun) {
      throw new SplitRefusedError('cut-over', ['The copy is not there yet: subscribe comes first.']);
    }
    let counted = BigInt(source.mark?.since ?? 0);
    if (!isFence(source.fence, session.stays)) {
      counted = await compareEvents(session, { after: counted, isFenced: false });
      const what = `-- setFence: CHECK (${inClass(session.stays)}) NOT VALID ON ${FENCED_TABLES.join(', ')}`;
      await session.by('source', what, (queryRunner) => setFenceBy(queryRunner, session.stays));
      session.say(`Writes of class ${classInWords(session.moves)} are refused from here until the map is switched.`);
    }
    await compareEvents(session, { after: counted, isFenced: true });
    await disown(session, messagesOf(session));
    await catchUp(session, 'cut-over');
    await assertFenced(session);
    await own(session);
  }
  const standing = await readStanding(session);
  if (standing.source.mark || session.isDryRun) await leaveToTarget(session);
  await tidySource(session, standing);
}

/**
 * From the newest to the oldest: an older message that is there still may go out meanwhile, and never after a newer one of its
 * aggregate. One that a relay has claimed is left until its turn ends. What is processed stays, for the cleaning up.
 */
const messagesOf = ({ moves }: SplitSession): Disowned => ({
  ...{ at: 'source', restaurants: inClass(moves), table: 'outbox', key: 'id', where: 'processed_at IS NULL' },
  waiting: 'Waiting for relays of the source, which have claimed messages of these restaurants …',
});

/** The last look: what the source has taken without the fence, the target may lack. Another time is as good. */
async function assertFenced(session: SplitSession): Promise<void> {
  if (session.isDryRun || isFence((await readStanding(session)).source.fence, session.stays)) return;
  throw new SplitRefusedError('cut-over', [
    'The fence of the source was changed meanwhile, and it may have taken writes of what moves. Cut over again.',
  ]);
}

async function own(session: SplitSession): Promise<void> {
  const checks = await session.read<{ statement: string }>('source', YOUNGER_CHECKS);
  await session.whileLocked(
    'target',
    `ALTER SUBSCRIPTION ${SPLIT_MARK} DISABLE`,
    // The slot is dropped afterwards, by the source: only so can this be one transaction.
    `ALTER SUBSCRIPTION ${SPLIT_MARK} SET (slot_name = NONE)`,
    `DROP SUBSCRIPTION ${SPLIT_MARK}`,
    ...sequencesFrom(session.first),
    ...checks.map(({ statement }) => statement),
    ...TABLES.map(dropReceives),
    `DROP PUBLICATION ${SPLIT_MARK}`,
  );
}

/** As the source has them: prepare has found both alike. With their comments. */
const YOUNGER_CHECKS = sql`
  SELECT concat_ws('; ',
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid)),
    format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, conrelid::regclass, obj_description(pg_constraint.oid, 'pg_constraint'))
  ) AS statement
  FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
  WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${TABLES}) AND contype = 'c' AND NOT convalidated
    AND conname <> ALL (${[RECEIVES, ...FENCED_TABLES.map(fenceOf)]})
  ORDER BY relname, conname`;
