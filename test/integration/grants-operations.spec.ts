import { QueryFailedError } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { PermissionDeniedError } from '../../src/errors';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { EventStore } from '../../src/event-store/event-store';
import { PRIVILEGES, type Role, ROLES, WHOLE } from '../../src/grants/privileges';
import { IdempotencyKeys } from '../../src/idempotency/idempotency-keys';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { Outbox } from '../../src/outbox/outbox';
import { ReadModel, RebuildNotAllowedError } from '../../src/read-model/read-model';
import { Sweeper } from '../../src/sweeper/sweeper';
import { docTable } from '../support/docs/doc-table';
import { OPERATIONS } from '../support/requests/role-operations';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);

beforeAll(() => roles.setUp());

/** What the page promises. */
const CALLS = docTable('docs/how-to/least-privilege.md', 'Who may call what').flatMap(([of, methods, ...yes]) =>
  methods!.split(', ').map((method) => ({
    ...{ name: `${of}.${method}`, call: OPERATIONS[of!]![method]! },
    may: ROLES.filter((_role, index) => yes[index] === 'yes'),
  })),
);

test('the page decides on every public method', () => {
  const classes = [
    AuthRequests,
    IdempotencyKeys,
    ProcessingLocks,
    EventStore,
    Outbox,
    OutboxRelay,
    ReadModel,
    RestaurantPaymentConfigs,
    Sweeper,
  ];
  const methods = classes.flatMap(({ name, prototype }) =>
    Object.getOwnPropertyNames(prototype).map((method) => `${name}.${method}`),
  );
  // These touch no database.
  const touching = methods.filter((name) => !/\.(constructor|stop|wake)$/.test(name));
  expect(CALLS.map(({ name }) => name)).toEqual(expect.arrayContaining(touching));
});

const REFUSED_BY_OTHERS: Record<string, new (...args: never[]) => Error> = {
  'ReadModel.rebuild': RebuildNotAllowedError,
  'entities.RestaurantPaymentConfig': QueryFailedError,
  'entities.PaymentProcessor': QueryFailedError,
  'entities.DataKey': QueryFailedError,
};

test.each(CALLS)('$name runs as $may and as the owner, and is denied to all others', async ({ name, call, may }) => {
  const denied = REFUSED_BY_OTHERS[name] ?? PermissionDeniedError;
  const owner = await roles.as('owner');
  await call(owner, owner);
  for (const role of ROLES) {
    const called = call(await roles.as(role), owner);
    if (may.includes(role)) await called;
    else await expect(called).rejects.toThrow(denied);
  }
});

test.each(['api', 'worker', 'relay', 'sweeper', 'configs', 'secrets'] as const)(
  '%s has no privilege that nothing it does needs',
  async (role) => {
    const [owner, user] = [await roles.as('owner'), await roles.as(role)];
    const work = CALLS.filter(({ may }) => may.includes(role));
    const unneeded: string[] = [];
    for (const privilege of privilegesOf(role)) {
      await owner.query(`REVOKE ${privilege} FROM ${roles.group(role)}`);
      const denied = await firstDenied(work, ({ call }) => call(user, owner));
      if (denied < 0) unneeded.push(privilege);
      // What needed this one is likely to need the next.
      else work.unshift(...work.splice(denied, 1));
      await owner.query(`GRANT ${privilege} TO ${roles.group(role)}`);
    }
    expect(unneeded).toEqual([]);
  },
);

/** Each by itself: `SELECT (id) ON outbox`. */
const privilegesOf = (role: Role): string[] =>
  Object.entries(PRIVILEGES[role]).flatMap(([object, grant]) =>
    Object.entries(grant).flatMap(([privilege, columns]) =>
      columns === WHOLE
        ? `${privilege} ON ${privilege === 'USAGE' ? 'SEQUENCE ' : ''}${object}`
        : columns.map((column) => `${privilege} (${column}) ON ${object}`),
    ),
  );

/** The index of the first that lacks a privilege, or -1. */
async function firstDenied<T>(all: readonly T[], run: (one: T) => Promise<unknown>): Promise<number> {
  for (const [index, one] of all.entries()) {
    try {
      await run(one);
    } catch (error) {
      if (/permission denied/.test(String(error))) return index;
      throw error;
    }
  }
  return -1;
}
