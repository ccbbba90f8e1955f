import { Controller, Get, Module, NotFoundException } from '@nestjs/common';
import { type INestApplication } from '@nestjs/common';
import { APP_FILTER, HttpAdapterHost, NestFactory } from '@nestjs/core';
import { lastValueFrom, type Observable } from 'rxjs';
import * as api from '../../../src';
import { ConstraintViolationError, DatabaseUnavailableError, PaymentEventsDbError } from '../../../src';
import { ProblemDetailsFilter } from '../../../src/nest';
import { docTable } from '../../support/docs/doc-table';
import { NestLog } from '../../support/nest/nest-log';

// Over HTTP, on each adapter and both versions of NestJS: service.spec.ts and test/outside/nest-11.spec.ts.

let thrown: Error;

@Controller()
class ThrowingController {
  @Get()
  get() {
    throw thrown;
  }
}

@Module({ controllers: [ThrowingController], providers: [{ provide: APP_FILTER, useClass: ProblemDetailsFilter }] })
class AppModule {}

let app: INestApplication;
const log = new NestLog();
beforeAll(async () => {
  app = await NestFactory.create(AppModule, { logger: log, abortOnError: false });
  await app.listen(0, '127.0.0.1');
});
afterAll(() => app.close());

async function answerTo(error: Error) {
  thrown = error;
  log.lines.length = 0;
  const response = await fetch(await app.getUrl());
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, retryAfter: response.headers.get('Retry-After'), body };
}

const SECTIONS = [
  'From operations',
  'From the database',
  'From stored messages',
  'From configurations and their secrets',
  'From commands and set-up',
];
/** Every error of the reference that the main entry exports, with the status that its row says, or else follows. */
const ROWS = SECTIONS.flatMap((section) =>
  docTable('docs/reference/errors.md', section).flatMap(([name, code, retryable, ...texts]) => {
    const said = /HTTP (\d{3})/.exec(texts.join(' '))?.[1];
    const status = said ? Number(said) : retryable === 'yes' ? 503 : 500;
    return name! in api ? [{ name: name!, code: code!, isRetryable: retryable === 'yes', status }] : [];
  }),
);

test('every error is answered with the status of its row in the reference, and each 503 with Retry-After', async () => {
  expect(ROWS.length).toBeGreaterThan(40);
  for (const { name, code, isRetryable, status } of ROWS) {
    const Class = api[name as keyof typeof api] as unknown as { prototype: PaymentEventsDbError };
    const error = Object.assign(Object.create(Class.prototype) as PaymentEventsDbError, {
      ...{ code, retryable: isRetryable, message: 'what is told', problems: ['a is wrong'] },
    });
    const answer = await answerTo(error);
    expect({ name, ...answer }).toMatchObject({ name, status, body: { status, code } });
    expect({ name, retryAfter: answer.retryAfter }).toEqual({ name, retryAfter: status === 503 ? '1' : null });
    expect({ name, isTold: answer.body.detail === 'what is told' }).toEqual({ name, isTold: status < 500 });
  }
});

test('what is our fault is told in the log, and not to the client', async () => {
  const { body } = await answerTo(new ConstraintViolationError('auth_holds_state_check', 'auth_holds', '23514'));
  expect(body).toEqual({
    ...{ title: 'Internal Server Error', status: 500, code: 'CONSTRAINT_VIOLATION' },
    detail: 'The service cannot answer this request. Its log says why.',
  });
  expect(log.of('ProblemDetailsFilter')).toEqual([
    expect.stringMatching(/^error: ConstraintViolationError: .*auth_holds_state_check\.\n/),
  ]);
  await answerTo(new DatabaseUnavailableError('ECONNREFUSED'));
  expect(log.of('ProblemDetailsFilter')).toEqual([expect.stringMatching(/^warn: .*ECONNREFUSED/)]);
});

test("Nest's own exceptions, and everybody else's, are answered as before", async () => {
  expect(await answerTo(new NotFoundException())).toMatchObject({ status: 404, body: { statusCode: 404 } });
  expect(await answerTo(new Error('secret'))).toMatchObject({
    status: 500,
    body: { statusCode: 500, message: 'Internal server error' },
  });
});

test('what does not come by HTTP is thrown on, to a microservice as the Observable that it waits for', async () => {
  const filter = new ProblemDetailsFilter(app.get(HttpAdapterHost));
  const error = new DatabaseUnavailableError('ECONNREFUSED');
  const host = (type: string) => ({ getType: () => type }) as never;
  expect(() => filter.catch(error, host('graphql'))).toThrow(error);
  await expect(lastValueFrom(filter.catch(error, host('rpc')) as Observable<never>)).rejects.toBe(error);
});
