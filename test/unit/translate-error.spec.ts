import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { DatabaseError as ServerError } from 'pg-protocol';
import { QueryFailedError, QueryRunnerAlreadyReleasedError } from 'typeorm';
import { isFitAfter, isStalePlan, translateError } from '../../src/database/translate-error';
import {
  ConstraintViolationError,
  DatabaseError,
  DatabaseTimeoutError,
  DatabaseUnavailableError,
  LockLostError,
  OutcomeUnknownError,
  PermissionDeniedError,
  StalePlanError,
  TransactionAbortedError,
  TransactionConflictError,
} from '../../src/errors';
import { failureOf } from '../support/processes/within';

/** What `pg` throws of an error that the server reported. */
const reported = (code: string, more: Partial<ServerError> = {}): ServerError =>
  Object.assign(new ServerError('of the server', 0, 'error'), { code, severity: 'ERROR', ...more });

describe('what the server reports', () => {
  it.each([
    ['08006', new DatabaseUnavailableError('08006')],
    ['53300', new DatabaseUnavailableError('53300')],
    ['57P01', new DatabaseUnavailableError('57P01')],
    ['57P02', new DatabaseUnavailableError('57P02')],
    ['57P03', new DatabaseUnavailableError('57P03')],
    ['57P05', new DatabaseUnavailableError('57P05')],
    ['25P03', new DatabaseUnavailableError('25P03')],
    ['40001', new TransactionConflictError('40001')],
    ['40P01', new TransactionConflictError('40P01')],
    ['55P03', new DatabaseTimeoutError('55P03')],
    ['57014', new DatabaseTimeoutError('57014')],
    ['25006', new DatabaseUnavailableError('25006')],
    ['25P04', new DatabaseUnavailableError('25P04')],
    ['53100', new DatabaseUnavailableError('53100')],
    ['72000', new TransactionConflictError('72000')],
    ['55006', new DatabaseTimeoutError('55006')],
    ['26000', new StalePlanError()],
    ['40003', new OutcomeUnknownError()],
    ['08007', new OutcomeUnknownError()],
    ['25P02', new TransactionAbortedError()],
  ])('is told by its SQLSTATE: %s', (code, expected) => {
    expect({ ...(translateError(reported(code)) as Error) }).toEqual({ ...expected });
    expect(translateError(reported(code))).toEqual(expected);
  });

  it.each([
    ['22P02', 'A value, a row or a call'],
    ['23502', 'A value, a row or a call'],
    ['42P01', 'are migrations pending?'],
    ['0A000', 'are migrations pending?'],
    ['28P01', 'check user and password'],
    ['42P05', 'preparedStatements "unnamed"'],
    ['08P01', 'timeoutsVia "role"'],
    ['XX001', 'tell its operator'],
    ['99ZZZ', 'the list of error codes'],
  ])('that no retry repairs comes with what is known of its SQLSTATE: %s', (code, advice) => {
    const error = translateError(reported(code)) as DatabaseError;
    expect(error).toBeInstanceOf(DatabaseError);
    expect(error).toMatchObject({ sqlState: code, severity: 'ERROR', retryable: false });
    expect(error.message).toContain(advice);
  });

  it.each([
    ['query_wait_timeout', true],
    ['no more connections allowed (max_client_conn)', true],
    ['server login has been failing, try again later (server_login_retry)', true],
    ['pgbouncer is shutting down', true],
    ['unsupported startup parameter: statement_timeout', false],
    ['invalid message format', false],
  ])('under 08P01 may pass where it is a trouble of PgBouncer, and no mistake: %s', (message, passes) => {
    const error = translateError(Object.assign(reported('08P01', { severity: 'FATAL' }), { message }));
    expect(error).toBeInstanceOf(passes ? DatabaseUnavailableError : DatabaseError);
    expect(error).toMatchObject({ retryable: passes });
  });

  it.each(['23505', '23514', '23P01', '23001'])('names the constraint and its table: %s', (code) => {
    const error = reported(code, { constraint: 'check_amount', table: 'auth_request_state', detail: 'secret' });
    expect({ ...(translateError(error) as Error) }).toEqual({
      ...new ConstraintViolationError('check_amount', 'auth_request_state', code),
    });
  });

  it.each([
    ['permission denied for table outbox', 'table outbox'],
    ['permission denied for sequence auth_processing_fencing_tokens', 'sequence auth_processing_fencing_tokens'],
    ['permission denied to pt_secret', undefined],
    ['permission denied for table "pt secret"', undefined],
  ])('names what permission was denied for, and nothing that it does not know: %s', (message, object) => {
    const error = translateError(Object.assign(reported('42501'), { message }));
    expect(error).toBeInstanceOf(PermissionDeniedError);
    expect((error as PermissionDeniedError).object).toBe(object);
    expect((error as Error).message.includes(`: ${message}.`)).toBe(object !== undefined);
    expect((error as Error).message).not.toContain('secret');
  });

  it('is a stale plan only where the plan cache says so, for other things are not supported either', () => {
    const stale = reported('0A000', { routine: 'RevalidateCachedQuery' });
    expect(isStalePlan(stale)).toBe(true);
    expect(translateError(stale)).toBeInstanceOf(StalePlanError);
    expect(isStalePlan(reported('0A000', { routine: 'transformLockingClause' }))).toBe(false);
  });

  it('is a stale plan where the session does not have the statement any more', () => {
    expect(isStalePlan(reported('26000'))).toBe(true);
  });

  it('is understood inside of what TypeORM wraps around it, and comes without the parameters', () => {
    const wrapped = new QueryFailedError('SELECT $1', ['secret'], reported('40001'));
    expect(translateError(wrapped)).toEqual(new TransactionConflictError('40001'));
    expect(translateError(wrapped)).not.toHaveProperty('cause');
  });

  it('leaves the connection fit for use, unless it is FATAL, in any language, or of a server that takes no writes', () => {
    expect(isFitAfter(reported('23505'))).toBe(true);
    expect(isFitAfter(reported('57P01', { severity: 'FATAL' }))).toBe(false);
    expect(isFitAfter(new Error('Query read timeout'))).toBe(false);
    expect(isFitAfter(reported('23505', { severity: 'FEHLER' }))).toBe(true);
    expect(isFitAfter(reported('57P01', { severity: 'FATALE' }))).toBe(false);
    expect(isFitAfter(reported('25006'))).toBe(false);
    expect(isFitAfter(new QueryFailedError('', [], reported('23505')))).toBe(true);
  });
});

describe('what the network does', () => {
  it('is told by its name', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    await once(server.close(), 'close');
    for (const host of ['127.0.0.1', 'localhost']) {
      const refused = await failureOf(once(connect({ port, host }), 'connect'));
      expect(translateError(refused)).toEqual(new DatabaseUnavailableError('ECONNREFUSED'));
    }
    const unknown = await failureOf(once(connect({ port, host: 'no-such-host.invalid' }), 'connect'));
    expect(translateError(unknown)).toBeInstanceOf(DatabaseUnavailableError);
  });

  it.each([
    'Connection terminated',
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'timeout expired',
    'timeout exceeded when trying to connect',
    'Query read timeout',
    'Client has encountered a connection error and is not queryable',
    'Client was closed and is not queryable',
    'Cannot use a pool after calling end on the pool',
  ])('is known by what pg says of it: %s', (message) => {
    expect(translateError(new Error(message))).toEqual(new DatabaseUnavailableError('connection lost'));
  });

  it('is known by what TypeORM says of a transaction whose connection went', () => {
    expect(translateError(new QueryRunnerAlreadyReleasedError())).toBeInstanceOf(DatabaseUnavailableError);
  });
});

it.each([
  ['an error of this package', new LockLostError('id')],
  ['an error of the caller', new Error('of the caller')],
  ['an error with a number for its code, such as of gRPC', Object.assign(new Error('14 UNAVAILABLE'), { code: 14 })],
  ['an error with a code of its own', Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' })],
  ['an error that looks like an SQLSTATE and is of no server', Object.assign(new Error('x'), { code: '40001' })],
  ['what is no error at all', 'text'],
  ['nothing', undefined],
])('%s passes as it is', (_what, thrown) => {
  expect(translateError(thrown)).toBe(thrown);
});
