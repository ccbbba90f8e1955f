import { type DataSource } from 'typeorm';
import { AuthRequests } from '../auth-requests/auth-requests';
import { type Session, sessionOf } from '../database/session';
import { readFence } from '../fence/read-fence';
import { IdempotencyKeys } from '../idempotency/idempotency-keys';
import { ProcessingLocks } from '../locks/processing-locks';
import { Outbox } from '../outbox/outbox';
import { type Allowance } from './allowance';
import { countPurgeable } from './count-purgeable';
import { readOutboxAgeMs } from './due';
import { findLapsing } from './find-lapsing';
import { giveUpVoids } from './give-up-voids';
import { findGivenUp, sendRequests } from './send-requests';
import { sendVoids } from './send-voids';
import { type Sending, SWEEPER_TASKS, type SweeperTask, type SweepResult } from './sweep-result';
import { type SweeperSettings, type TurnSettings } from './sweeper-options';

/** What a turn works with. */
export interface Turn {
  readonly dataSource: DataSource;
  readonly settings: SweeperSettings;
  readonly allowance: Allowance;
  readonly dryRun: boolean;
  /** Asked between two statements: what is left is for the next turn. */
  readonly isEnding: () => boolean;
  /** Told before each task begins. */
  readonly onTask?: (task: SweeperTask) => void;
}

/** A turn that knows which restaurants are the database's own. */
type Fenced = Turn & { readonly settings: TurnSettings };

/** The parts of a result, one a task. */
type Parts = Omit<SweepResult, 'outcome' | 'dryRun' | 'outboxAgeMs'>;

/** Does some tasks, one after the other. A task that fails ends the turn; what was done before it stays. */
export async function sweep(tasks: ReadonlySet<SweeperTask>, given: Turn): Promise<SweepResult> {
  const session = sessionOf(given.dataSource);
  // Read again each turn: it becomes narrower when restaurants move away.
  const turn = { ...given, settings: { ...given.settings, fence: await readFence(session) } };
  const sends = tasks.has('voiding') || tasks.has('stuck') || tasks.has('unsettled');
  const outboxAgeMs = sends ? await readOutboxAgeMs(session) : null;
  const parts: Partial<Parts> = {};
  for (const task of SWEEPER_TASKS) {
    if (!tasks.has(task) || turn.isEnding()) continue;
    turn.onTask?.(task);
    Object.assign(parts, { [task]: await TASKS[task](session, turn, outboxAgeMs) });
  }
  return { outcome: 'swept', dryRun: turn.dryRun, outboxAgeMs, ...parts };
}

const TASKS: {
  readonly [Task in SweeperTask]: (
    session: Session,
    turn: Fenced,
    outboxAgeMs: number | null,
  ) => Promise<NonNullable<Parts[Task]>>;
} = {
  voiding: async (session, turn, outboxAgeMs) => {
    const { settings, dryRun, isEnding } = turn;
    const givenUp = await giveUpVoids(session, settings, dryRun, isEnding);
    const sending = await send(turn, outboxAgeMs, (atMost) => sendVoids(session, settings, atMost, dryRun));
    return { ...sending, givenUp };
  },
  stuck: (session, turn, outboxAgeMs) =>
    send(turn, outboxAgeMs, (atMost) => sendRequests(session, 'stuck', turn.settings, atMost, turn.dryRun)),
  unsettled: (session, turn, outboxAgeMs) =>
    send(turn, outboxAgeMs, (atMost) => sendRequests(session, 'unsettled', turn.settings, atMost, turn.dryRun)),
  listing: async (session, { settings }) => ({
    requests: await findGivenUp(session, settings),
    lapsing: await findLapsing(session, settings),
  }),
  expiry: async (_session, { dataSource, settings, dryRun }) => {
    const requests = new AuthRequests(dataSource);
    const which = { olderThanMs: settings.expireAfterMs, withinMs: settings.withinMs };
    if (!dryRun) return await requests.expireStale(which);
    return (await requests.listStuck({ ...which, limit: 10_000 })).map(({ authRequestId }) => authRequestId);
  },
  keys: (session, { dataSource, dryRun }) =>
    dryRun ? countPurgeable(session, 'keys', 0) : new IdempotencyKeys(dataSource).purgeExpired(),
  leases: (session, { dataSource, dryRun }) =>
    dryRun ? countPurgeable(session, 'leases', 0) : new ProcessingLocks(dataSource).purgeExpired(),
  messages: (session, { dataSource, settings: { purgeMessagesAfterMs: olderThanMs }, dryRun }) =>
    dryRun ? countPurgeable(session, 'messages', olderThanMs) : new Outbox(dataSource).purgeProcessed({ olderThanMs }),
};

/** Within what may be sent now. */
async function send<Sent>(
  { settings: { batchSize, outboxLateMs }, allowance, dryRun }: Fenced,
  outboxAgeMs: number | null,
  work: (atMost: number) => Promise<readonly Sent[]>,
): Promise<Sending<Sent>> {
  if (outboxAgeMs !== null && outboxAgeMs > outboxLateMs) return { sent: [], heldBack: 'outbox_late' };
  const { left } = allowance;
  const atMost = Math.min(batchSize, left);
  if (atMost === 0) return { sent: [], heldBack: 'per_minute' };
  const sent = await (dryRun ? work(atMost) : allowance.take(atMost, () => work(atMost)));
  if (sent.length < atMost) return { sent, heldBack: null };
  return { sent, heldBack: left < batchSize ? 'per_minute' : 'batch' };
}
