import { orNull, text, uuid } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { AmbiguousHoldError, AuthRequestNotFoundError, HoldNotFoundError } from '../../errors';

/**
 * Exact names first; a legacy service may have left the name out. In the request that is named the id alone tells: a name may be
 * spelled in several ways.
 */
const FIND_HOLD = operation({
  name: 'find_hold',
  input: {
    wanted_name: text,
    processor_auth_id: text,
    wanted_request: orNull(uuid),
    wanted_restaurant: orNull(uuid),
  },
  output: rowsOf<FoundHold>(),
  sql: `
    SELECT auth_request_id, restaurant_id, processor_name
    FROM auth_holds JOIN input USING (processor_auth_id)
    WHERE (processor_name IN (wanted_name, '') OR auth_request_id = wanted_request)
      AND auth_request_id = coalesce(wanted_request, auth_request_id)
      AND restaurant_id = coalesce(wanted_restaurant, restaurant_id)
    ORDER BY processor_name = wanted_name DESC, processor_name DESC LIMIT 3`,
});

const FIND_REQUEST = operation({
  name: 'find_request_of_hold',
  input: { auth_request_id: uuid, wanted_restaurant: orNull(uuid) },
  output: rowsOf<Omit<FoundHold, 'processor_name'>>(),
  sql: `
    SELECT auth_request_id, restaurant_id FROM auth_request_state JOIN input USING (auth_request_id)
    WHERE restaurant_id = coalesce(wanted_restaurant, restaurant_id)`,
});

interface FoundHold {
  readonly auth_request_id: string;
  readonly restaurant_id: string;
  readonly processor_name: string;
}

/** What names a hold, as far as its processor knows. */
interface HoldName {
  readonly authRequestId?: string;
  readonly restaurantId?: string;
  readonly processorName: string;
  readonly processorAuthId: string;
}

/**
 * The hold that is meant, under the name that it is kept under.
 *
 * @throws AmbiguousHoldError several requests have it
 */
export async function findHold(session: Session, hold: HoldName): Promise<FoundHold | undefined> {
  const found = await session.rows(FIND_HOLD, {
    wanted_name: hold.processorName,
    processor_auth_id: hold.processorAuthId,
    wanted_request: hold.authRequestId ?? null,
    wanted_restaurant: hold.restaurantId ?? null,
  });
  const named = found.filter((row) => row.processor_name === hold.processorName);
  const candidates = named.length > 0 || hold.authRequestId ? found.slice(0, 1) : found;
  if (named.length > 1 || candidates.length > 1) throw new AmbiguousHoldError(hold.processorName, hold.processorAuthId);
  return candidates[0];
}

/**
 * The hold that is meant, or the request that is to have it.
 *
 * @throws HoldNotFoundError, AmbiguousHoldError, AuthRequestNotFoundError
 */
export async function findOrPlace(session: Session, hold: HoldName): Promise<FoundHold> {
  const { authRequestId, restaurantId, processorName, processorAuthId } = hold;
  const known = await findHold(session, hold);
  if (known) return known;
  if (!authRequestId) throw new HoldNotFoundError(processorName, processorAuthId);
  const request = await session.row(FIND_REQUEST, {
    auth_request_id: authRequestId,
    wanted_restaurant: restaurantId ?? null,
  });
  if (!request) throw new AuthRequestNotFoundError(authRequestId);
  return { ...request, processor_name: processorName };
}

/** For the metadata of an event: the name of the hold's row, where it is not that of the message. */
export const keptUnder = ({ processor_name: name }: FoundHold, processorName: string) => ({
  hold_name: name === processorName ? undefined : name,
});
