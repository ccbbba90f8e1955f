import { addFence, dropFence, FENCED_TABLES, inClass } from '../../fence/fence-sql';
import { classInWords } from '../../fence/residue';
import { disown } from './disown';
import { SplitRefusedError } from './errors';
import { leaveToTarget } from './leave-to-target';
import { numberProblems } from './number';
import { type SplitSession } from './split-session';
import { assertWhole, isFence, type Standing } from './standing';
import { sequencesFrom } from './tables';

/**
 * Hands the restaurants that move over to a clone: a physical standby of the source that was promoted after it had the fence of the
 * source. By the order of the WAL it has all that was committed before that. Relays of the source stand still. In this order:
 *
 * 1. The clone deletes the messages of what stays that are not delivered, and the leases: the source has them.
 * 2. In one transaction the clone takes what moves instead of what stays, and counts in its own range.
 * 3. The source deletes the leases of what moves, and the messages that the clone has. One that was written without an event since
 *    the clone was promoted stays: the relay of the source delivers it.
 */
export async function takeClone(session: SplitSession, standing: Standing): Promise<void> {
  const { moves, stays } = session;
  if (!standing.isHandedOver) {
    assertWhole('clone', standing);
    const problems = [...problemsOf(session, standing), ...(await numberProblems(session))];
    if (problems.length > 0) throw new SplitRefusedError('clone', problems);
    const restaurants = inClass(stays);
    await disown(session, {
      ...{ at: 'target', restaurants, table: 'outbox', key: 'id', where: 'processed_at IS NULL' },
      waiting: 'Waiting for transactions of the clone that have claimed messages: no relay of it may run …',
    });
    await disown(session, {
      ...{ at: 'target', restaurants, table: 'auth_processing_locks', key: 'auth_request_id', where: 'true' },
      waiting: 'Waiting for transactions of the clone that have locked leases …',
    });
    await session.whileLocked(
      'target',
      ...FENCED_TABLES.flatMap((table) => [dropFence(table), addFence(table, moves)]),
      ...sequencesFrom(session.first),
    );
  }
  await leaveToTarget(session);
}

function problemsOf({ stays, isClone }: SplitSession, { source, target }: Standing): string[] {
  if (!isClone) return ['The target is no clone of the server of the source. An empty database begins with prepare.'];
  const problems: string[] = [];
  if (source.mark || target.mark || target.hasSubscription) {
    problems.push(
      'The restaurants are moved by logical replication: finish or undo that, and make the clone afterwards.',
    );
  }
  if (!isFence(source.fence, stays)) {
    problems.push(
      `The source must refuse what moves before the clone is promoted, and keep class ${classInWords(stays)}: ` +
        'npx payment-events-db shard fence --shard <source>, with the next map.',
    );
  } else if (!isFence(target.fence, stays)) {
    problems.push(
      'The clone was promoted before it had the fence of the source, and may lack writes: make another one.',
    );
  }
  return problems;
}
