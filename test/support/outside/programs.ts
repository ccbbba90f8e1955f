import { entities } from '../../../src/entities';
import { commandsIn, DocPage, README } from '../docs/doc-page';
import { RESTAURANT } from '../requests/auth-requests';

/** The README's way to install the package. */
export const INSTALL = commandsIn(README.blocksOf('What it does for a payment service', 'bash')[0]!)[0]!;
/** And its one line for TypeORM's own command, which is in no block. */
export const MIGRATION_RUN = /npx typeorm migration:run -d [^`]+/.exec(README.section('Operate it'))![0];

const NESTJS_PAGE = new DocPage('docs/how-to/use-in-nestjs.md');

/** The service of docs/how-to/use-in-nestjs.md. */
export const SERVICE = NESTJS_PAGE.blocks.find(({ language }) => language === 'ts')!.code;

/** The configurations of that page, by the names of their files. */
export const CONFIGURATIONS = Object.fromEntries(
  NESTJS_PAGE.blocksOf('Test and bundle it', 'js').map((code) => [/^\/\/ (\S+)/.exec(code)![1]!, code]),
);

/** The command of that page. @param version of what is Nest's */
export const installNest = (version: number): string =>
  NESTJS_PAGE.blocks
    .find(({ language }) => language === 'bash')!
    .code.trim()
    .replace(/@nestjs\/\w+/g, `$&@${version}`);

const COMMAND = `{ restaurantId: '${RESTAURANT}', paymentToken: 'pt_1', amountCents: 1050, currency: 'USD' }`;

/** Authorizes a request, reads it, sends a wrong one, and prints what came of it in JSON. */
const operate = (imports: string) => `
  ${imports}

  async function main() {
    const options = createDataSourceOptions(readConfig().dataSource);
    const dataSource = await new PaymentEventsDataSource(options).initialize();
    const requests = new AuthRequests(dataSource);
    const command = ${COMMAND};
    const { authRequestId } = await requests.authorize({ ...command, idempotencyKey: randomUUID() });
    const request = await requests.get({ restaurantId: command.restaurantId, authRequestId });
    const error = await requests
      .authorize({ ...command, currency: 'usd', idempotencyKey: randomUUID() })
      .catch((error) => error);
    const [event] = await dataSource.getRepository(PaymentEvent).findBy({ aggregateId: authRequestId });
    await dataSource.destroy();
    console.log(JSON.stringify({
      status: request?.status,
      eventType: event?.eventType,
      error: { name: error.name, isOne: error instanceof InvalidCommandError, message: error.message },
      entities: entities.map(({ name }) => name),
    }));
  }
  main();`;

const NAMES =
  'AuthRequests, createDataSourceOptions, entities, InvalidCommandError, PaymentEvent, PaymentEventsDataSource, readConfig';

/** As CommonJS. */
export const REQUIRES = operate(`
  require('reflect-metadata');
  const { randomUUID } = require('node:crypto');
  const { ${NAMES} } = require('payment-events-db');`);

/** As an ES module, and as TypeScript. */
export const IMPORTS = operate(`
  import 'reflect-metadata';
  import { randomUUID } from 'node:crypto';
  import { ${NAMES} } from 'payment-events-db';`);

/** What these print, and nothing else: no warning either. */
export const OPERATED = {
  status: 'PENDING',
  eventType: 'AuthRequestCreated',
  error: {
    name: 'InvalidCommandError',
    isOne: true,
    message: 'AuthorizeCommand: currency must be three letters A to Z (ISO 4217).',
  },
  entities: entities.map(({ name }) => name),
};

/** Starts the service on the adapter that it is told, and says where it listens. */
export const SERVER = `
  import 'reflect-metadata';
  import { NestFactory } from '@nestjs/core';
  import { FastifyAdapter } from '@nestjs/platform-fastify';
  import { AppModule } from './service';

  async function main() {
    const logger = false;
    const app = process.argv[2] === 'fastify'
      ? await NestFactory.create(AppModule, new FastifyAdapter(), { logger })
      : await NestFactory.create(AppModule, { logger });
    app.enableShutdownHooks();
    await app.listen(0, '127.0.0.1');
    console.log(await app.getUrl());
  }
  void main();`;

/** Starts the service, authorizes a request over HTTP, reads it, sends a wrong one, and prints the answers in JSON. */
export const VISIT = `
  import 'reflect-metadata';
  import { NestFactory } from '@nestjs/core';
  import { AppModule } from './service.js';

  async function main() {
    const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
    await app.listen(0, '127.0.0.1');
    const url = (await app.getUrl()) + '/restaurants/${RESTAURANT}/authorizations';
    const post = (body: object, key: string) =>
      fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
        body: JSON.stringify(body),
      });
    const key = crypto.randomUUID();
    const accepted = await post(${COMMAND}, key);
    const { authRequestId } = (await accepted.json()) as { authRequestId: string };
    const read = (await (await fetch(url + '/' + authRequestId)).json()) as { status: string };
    const refused = await post({}, key + '2');
    const { code } = (await refused.json()) as { code: string };
    await app.close();
    console.log(JSON.stringify({ accepted: accepted.status, status: read.status, refused: refused.status, code }));
  }
  void main();`;

export const VISITED = { accepted: 202, status: 'PENDING', refused: 400, code: 'INVALID_COMMAND' };

/** A provider as services have them, and its test, for Jest and for Vitest with its globals. */
export const TESTED_SERVICE = {
  'payments.ts': `
    import { Injectable } from '@nestjs/common';
    import { InjectRepository } from '@nestjs/typeorm';
    import { AuthRequests, PaymentEvent } from 'payment-events-db';
    import type { AuthorizeCommand } from 'payment-events-db';
    import { Repository } from 'typeorm';

    @Injectable()
    export class Payments {
      constructor(
        private readonly requests: AuthRequests,
        @InjectRepository(PaymentEvent) private readonly events: Repository<PaymentEvent>,
      ) {}

      async accept(command: AuthorizeCommand) {
        const { authRequestId } = await this.requests.authorize(command);
        const request = await this.requests.get({ restaurantId: command.restaurantId, authRequestId });
        return { status: request!.status, events: await this.events.countBy({ aggregateId: authRequestId }) };
      }
    }`,
  'payments.test.ts': `
    import 'reflect-metadata';
    import { randomUUID } from 'node:crypto';
    import { Test } from '@nestjs/testing';
    import type { TestingModule } from '@nestjs/testing';
    import { InvalidCommandError } from 'payment-events-db';
    import { PaymentEventsDbModule } from 'payment-events-db/nest';
    import { Payments } from './payments.js';

    const command = () => ({ ...${COMMAND}, idempotencyKey: randomUUID() });
    let app: TestingModule;
    beforeAll(async () => {
      app = await Test.createTestingModule({ imports: [PaymentEventsDbModule.forRoot()], providers: [Payments] }).compile();
      await app.init();
    });
    afterAll(() => app.close());

    test('accepts a request', async () => {
      expect(await app.get(Payments).accept(command())).toEqual({ status: 'PENDING', events: 1 });
    });

    test('throws errors by their classes and names', async () => {
      const failure = app.get(Payments).accept({ ...command(), currency: 'usd' });
      await expect(failure).rejects.toBeInstanceOf(InvalidCommandError);
      await expect(failure).rejects.toMatchObject({ name: 'InvalidCommandError', command: 'AuthorizeCommand' });
    });`,
};
