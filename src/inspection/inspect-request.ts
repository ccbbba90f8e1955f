import { type DataSource } from 'typeorm';
import { type AuthRequest } from '../auth-requests/auth-request';
import { type Session } from '../database/session';
import { transaction } from '../database/transaction';
import { AuthRequestNotFoundError, DatabaseTimeoutError } from '../errors';
import { decodeEvent } from '../event-store/event-codec';
import { assertOwned } from '../fence/assert-owned';
import { type EventRow, readRecords } from '../read-model/read-records';
import { AS_THEY_ARE, readShape } from '../read-model/read-shape';
import { differenceOf, type RequestDifference } from '../read-model/verification';
import { Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { describeEvent, type StoredEventRow } from './describe-event';
import { type InspectedKey, type InspectedMessage, type Inspection, type NotShown } from './inspection';
import { masked } from './masked';
import { nextSteps } from './next-steps';
import {
  inOrder,
  readDelivered,
  readEvents,
  readHolds,
  readKeys,
  readLease,
  readRequest,
  readSight,
  readUndelivered,
  type Sight,
} from './read-parts';

/** Which request to inspect. */
class InspectCommand {
  @Uuid()
  authRequestId: string;
}

/**
 * Every statement sees the snapshot of the first: what an operation has written is seen in all parts or in none, while
 * workers go on. Nothing is locked, nothing is written, and nothing can be refused for what others write.
 */
const ONE_SNAPSHOT = {
  transaction_isolation: 'repeatable read',
  transaction_read_only: 'on',
  lock_timeout: '2s',
  statement_timeout: '10s',
};

/**
 * All that the database knows of one request: its row, its events, what is open, its holds, its messages, keys and lease, what differs
 * from its events, and what to do about it. For people on call.
 *
 * All parts are of one moment. A role that must not read a part gets the others: `notShown` says which are missing, and
 * the read-only role lacks contents of events, `difference` and texts of keys. What no index finds, delivered messages and
 * keys, is searched for 10 seconds each at most, and a table that is locked is waited for 2 seconds.
 *
 * @throws {InvalidCommandError} the id is not a UUID
 * @throws {AuthRequestNotFoundError} it has neither a row nor events
 * @throws {WrongShardError} its restaurant is in another database: what is left of it here says nothing any more
 * @throws {ConfigurationError} the fences of the tables do not agree
 * @throws {PermissionDeniedError} the role is neither the worker's nor the read-only one nor the owner
 * @throws {DatabaseTimeoutError} retryable: a table is locked that every inspection reads
 * @throws {PendingMigrationsError} the tables are not there yet
 *
 * @example
 * const { request, next } = await inspectRequest(dataSource, authRequestId);
 * console.log(request?.status, next);
 */
export async function inspectRequest(dataSource: DataSource, authRequestId: string): Promise<Inspection> {
  validateCommand({ InspectCommand }, { authRequestId });
  const id = authRequestId.toLowerCase();
  return await transaction(dataSource, ONE_SNAPSHOT, async (session) => {
    const sight = await readSight(session);
    const notShown: NotShown[] = [];
    const { request, canBeAsked } = await readRequest(session, id);
    const seen = await (sight.contents ? readContents(dataSource, session, id) : readOutlines(session, id));
    if (!request && seen.events.length === 0) throw new AuthRequestNotFoundError(id);
    const restaurantId = request?.restaurantId ?? seen.restaurantId;
    if (restaurantId !== null) await assertOwned(session, restaurantId);
    if (!sight.contents) notShown.push(lacking('contents of events'), lacking('difference'));
    const lease = await readLease(session, id);
    const holds = await readHolds(session, id);
    const since = beginningOf(request, seen.events);
    const messages = await readMessages(session, id, since, sight, notShown);
    const keys = await findKeys(session, id, since, sight, notShown);
    const known = {
      authRequestId: id,
      restaurantId,
      ...{ at: sight.at, request, canBeAsked, holds, events: seen.events.map(describeEvent) },
      ...{ messages, keys, lease, difference: seen.difference, notShown },
    };
    return masked({ ...known, next: nextSteps(known) }, seen.tokens);
  });
}

const lacking = (part: NotShown['part']): NotShown => ({ part, because: 'privilege' });

/** Rows of legacy services have their own clocks. */
function beginningOf(request: AuthRequest | null, events: readonly { readonly createdAt: Date }[]): Date {
  const times = [request?.createdAt, events[0]?.createdAt].filter((time) => time instanceof Date);
  return new Date(Math.min(...times.map((time) => time.getTime())) - 86_400_000);
}

/** The events of a request, and what follows from their contents where the role may read those. */
interface Seen {
  readonly events: readonly StoredEventRow[];
  /** Null where no event says it. */
  readonly restaurantId: string | null;
  readonly difference: RequestDifference | null;
  /** What must not be shown. */
  readonly tokens: readonly string[];
}

async function readOutlines(session: Session, id: string): Promise<Seen> {
  const events = await readEvents(session, id);
  return { events, restaurantId: events[0]?.restaurantId ?? null, difference: null, tokens: [] };
}

async function readContents(dataSource: DataSource, session: Session, id: string): Promise<Seen> {
  const shape = await readShape(dataSource, session);
  const [record] = await readRecords(session, [id], { shape, zones: AS_THEY_ARE });
  if (!record) return { events: [], restaurantId: null, difference: null, tokens: [] };
  const { restaurantId, row, events } = record;
  const tokens = [row?.paymentToken, row?.attemptToken?.toString(), ...events.map(paymentTokenIn)].filter(isText);
  return { events, restaurantId, difference: withoutTokens(differenceOf(record, shape)), tokens };
}

const isText = (token: string | undefined) => token !== undefined;

/** Where the row is missing or says another. */
function paymentTokenIn({ eventType, eventData, eventId }: EventRow): string | undefined {
  if (eventType !== 'AuthRequestCreated') return undefined;
  try {
    const { data } = decodeEvent(eventType, eventData, { eventId });
    return 'paymentToken' in data ? data.paymentToken : undefined;
  } catch {
    return undefined;
  }
}

/** Of a fencing token, as of a payment token, only the fact is told. */
function withoutTokens(difference: RequestDifference | undefined): RequestDifference | null {
  if (!difference || difference.kind === 'events_unfoldable') return difference ?? null;
  const differences = difference.differences.map((each) =>
    each.field === 'attemptToken' ? { field: each.field } : each,
  );
  return { ...difference, differences };
}

async function readMessages(
  session: Session,
  id: string,
  since: Date,
  sight: Sight,
  notShown: NotShown[],
): Promise<InspectedMessage[] | null> {
  if (!sight.messages) {
    notShown.push(lacking('messages'));
    return null;
  }
  const undelivered = await readUndelivered(session, id);
  const delivered = await inTime(session, () => readDelivered(session, id, since));
  if (!delivered) notShown.push({ part: 'delivered messages', because: 'timeout' });
  return inOrder([...undelivered, ...(delivered ?? [])]);
}

async function findKeys(
  session: Session,
  id: string,
  since: Date,
  sight: Sight,
  notShown: NotShown[],
): Promise<InspectedKey[] | null> {
  if (!sight.keys) {
    notShown.push(lacking('keys'));
    return null;
  }
  const keys = await inTime(session, () => readKeys(session, id, since, sight.textsOfKeys));
  if (!keys) notShown.push({ part: 'keys', because: 'timeout' });
  else if (!sight.textsOfKeys) notShown.push(lacking('texts of keys'));
  return keys ?? null;
}

/** What has no index must not cost the rest: undefined where it took too long. */
async function inTime<T>(session: Session, read: () => Promise<T>): Promise<T | undefined> {
  await session.query('SAVEPOINT search');
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DatabaseTimeoutError)) throw error;
    await session.query('ROLLBACK TO search');
    return undefined;
  }
}
