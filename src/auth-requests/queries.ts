import { IsOptional } from 'class-validator';
import { bigint, integer, orNull, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { Uuid, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { COLUMNS, type Row, type AuthRequest, toAuthRequest } from './auth-request';
import { BY_TIME, Cursor, microsecondsOf, timeOf } from './cursor';

/** One request of one restaurant. */
export class RequestRef {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;
}

/** A page of a restaurant's requests. */
export class ListCommand {
  @Uuid()
  restaurantId: string;

  /** At most so many: 1 to 1,000. Default 50. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  limit?: number;

  /** `next` of the page before. */
  @IsOptional()
  @Cursor(BY_TIME)
  after?: string;
}

/** A page of requests, newest first. */
export interface AuthRequestPage {
  readonly requests: readonly AuthRequest[];
  /** Pass it as `after` for the next page; undefined at the end. */
  readonly next: string | undefined;
}

export const requestColumns = { auth_request_id: uuid, restaurant_id: uuid } as const;

export const requestInput = ({ authRequestId, restaurantId }: RequestRef) => ({
  auth_request_id: authRequestId,
  restaurant_id: restaurantId,
});

/** SQL: the request that an `input` with {@link requestColumns} names. */
export const ONE_REQUEST = `SELECT ${COLUMNS} FROM auth_request_state JOIN input USING (auth_request_id, restaurant_id)`;

const GET = operation({ name: 'get_auth_request', input: requestColumns, output: rowsOf<Row>(), sql: ONE_REQUEST });

export async function get(session: Session, input: RequestRef): Promise<AuthRequest | null> {
  const row = await session.row(GET, requestInput(validateCommand({ RequestRef }, input)));
  return row ? toAuthRequest(row) : null;
}

export const pageColumns = {
  restaurant_id: uuid,
  before_us: orNull(bigint),
  before_id: orNull(uuid),
  page_size: integer,
} as const;

export function pageInput({ restaurantId, limit = 50, after }: ListCommand) {
  const [before_us = null, before_id = null] = after?.split('_') ?? [];
  return { restaurant_id: restaurantId, before_us, before_id, page_size: limit };
}

export type PageRow = Row & { created_at_us: string };

/**
 * SQL: the page that an `input` with {@link pageColumns} asks for.
 *
 * Keyset pages (M. Winand, "We need tool support for keyset pagination"), by time and id, since many requests may share
 * an instant. The first page begins at infinity: with "before_us IS NULL OR …" a generic plan could not begin at the
 * cursor, and read all newer rows for each page.
 */
export const ONE_PAGE = `
    SELECT ${COLUMNS}, ${microsecondsOf('created_at')} AS created_at_us
    FROM auth_request_state JOIN input USING (restaurant_id)
    WHERE (created_at, auth_request_id)
          < (coalesce(${timeOf('before_us')}, 'infinity'), before_id)
    ORDER BY created_at DESC, auth_request_id DESC
    LIMIT (SELECT page_size FROM input)`;

const LIST = operation({ name: 'list_auth_requests', input: pageColumns, output: rowsOf<PageRow>(), sql: ONE_PAGE });

export async function list(session: Session, input: ListCommand): Promise<AuthRequestPage> {
  const wanted = pageInput(validateCommand({ ListCommand }, input));
  return toPage(await session.rows(LIST, wanted), wanted);
}

export function toPage(rows: readonly PageRow[], { page_size }: { readonly page_size: number }): AuthRequestPage {
  const last = rows.length === page_size ? rows.at(-1) : undefined;
  return {
    requests: rows.map(toAuthRequest),
    next: last && `${last.created_at_us}_${last.auth_request_id}`,
  };
}
