import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ReadModel } from '../../src/read-model/read-model';
import { DEVELOPMENT_RESTAURANT_ID } from '../../src/seeds/development-data';
import { DevelopmentSeeder } from '../../src/seeds/development-seeder';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';
import { DocPage } from '../support/docs/doc-page';
import { ExampleClient, type Authorization } from '../support/examples/example-client';
import { ExampleProcess } from '../support/examples/example-process';
import { freePort } from '../support/processes/bound-process';
import { Checkout } from '../support/processes/checkout';
import { within } from '../support/processes/within';
import { describeRabbitMq, type RabbitMq, startRabbitMq } from '../support/relay/rabbitmq';

// Here since it takes its packages from the registry, and minutes.

jest.setTimeout(600_000);

const PAGE = new DocPage('docs/explanation/the-example.md');

/** Every test follows the one before: the packages are installed once. */
describeRabbitMq('the examples', () => {
  let checkout: Checkout;
  const processes: ExampleProcess[] = [];
  const start = (...args: ConstructorParameters<typeof ExampleProcess>) => {
    const started = new ExampleProcess(...args);
    processes.push(started);
    return started;
  };
  const folder = (name: string) => join(checkout.folder, 'examples', name);

  beforeAll(async () => {
    checkout = await Checkout.create();
  });
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.kill()));
    await checkout.remove();
  });

  describe('by the command of their page', () => {
    const [install, run] = PAGE.blocksOf('Run it', 'bash');
    let whole: ExampleProcess;
    let ports: Record<'PORT' | 'PROCESSOR_PORT', string>;
    beforeAll(async () => {
      ports = { PORT: `${await freePort()}`, PROCESSOR_PORT: `${await freePort()}` };
      whole = start(checkout.folder, ['bash', '-c', install!.replace('npm ci\n', '')], ports);
      await whole.printed(/^Ready/);
    });

    const here = (command: string) =>
      command
        .replaceAll('localhost:3000', `localhost:${ports.PORT}`)
        .replaceAll('127.0.0.1:4000', `127.0.0.1:${ports.PROCESSOR_PORT}`);

    test('pack, install, build and start, and say what to send them', async () => {
      expect(install).toContain('npm ci\n');
      const shown = whole.lines.filter((line) => /^ +curl /.test(line));
      expect(shown).toHaveLength(3);
      let id = '';
      for (const command of shown) {
        const { output } = await checkout.run(command.replace('/ID', `/${id}`));
        expect({ command, output }).toMatchObject({ output: expect.stringMatching(/HTTP\/1.1 20[02] /) as string });
        id = /"authRequestId":"([^"]+)"/.exec(output)![1]!;
      }
    });

    test('do what their page shows', async () => {
      const { exitCode, output } = await checkout.run(`set -e; ${here(run!)}`);
      expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
      expect(output).toMatch(/"status":"AUTHORIZED".*"outcome":"queued".*"state":"voided"/s);
    });

    test('end with Ctrl-C, and leave no process behind', async () => {
      await whole.interrupt();
      // By what all that it starts inherits.
      const { output } = await checkout.run(`ps axeww | grep PROCESSOR_PORT=${ports.PROCESSOR_PORT} | grep -v grep`);
      expect(output).toBe('');
      await expect(fetch(here('http://localhost:3000/health/ready'))).rejects.toThrow();
    });
  });

  describe('as services', () => {
    const database = useTestDatabase();
    const roles = useRoles(database);
    let broker: RabbitMq;
    let processorUrl: string;
    let apiUrl: string;

    const api = async () => {
      const port = await freePort();
      const started = start(folder('authorization-api'), ['node', 'dist/main.js'], {
        DATABASE_URL: roles.url('api'),
        PORT: `${port}`,
      });
      await started.printed(/Listens at/);
      return { api: started, url: `http://127.0.0.1:${port}` };
    };
    const worker = () =>
      start(folder('auth-processor-worker'), ['node', 'dist/main.js'], {
        DATABASE_URL: roles.url('worker'),
        BROKER_URL: broker.url,
        PROCESSOR_URL: processorUrl,
      });
    let theWorker: ExampleProcess;
    const client = new ExampleClient(() => apiUrl, DEVELOPMENT_RESTAURANT_ID);

    /** What the processor says of a request. */
    const ledger = async (authRequestId?: string) => {
      const lines = (await (await fetch(processorUrl)).json()) as { id: string; key: string; state: string }[];
      return lines.filter(({ key }) => !authRequestId || key === authRequestId);
    };
    const statesOf = async (authRequestId: string) => (await ledger(authRequestId)).map(({ state }) => state);
    /** Long enough for any machine: it ends what never comes. */
    const until = async (holds: () => Promise<boolean>) => {
      let isOver = false;
      const loop = async () => {
        while (!isOver && !(await holds())) await delay(100);
      };
      await within(120_000, `"${holds.toString()}"`, loop()).finally(() => (isOver = true));
    };

    /** Of requests, and not the one under which a sweeper is at work. */
    const leases = (holder?: ExampleProcess) =>
      database.query(
        `SELECT auth_request_id FROM auth_processing_locks JOIN auth_request_state USING (auth_request_id)
         WHERE worker_id LIKE '%' || $1 || '%'`,
        [holder ? `/${holder.pid}/` : ''],
      );

    beforeAll(async () => {
      // From here on nothing is found but what the examples have installed.
      await rm(join(checkout.folder, 'node_modules'));
      await new DevelopmentSeeder().run(await database.dataSource());
      await roles.setUp();
      for (const role of ['relay', 'sweeper'] as const) {
        await (await roles.as('owner')).query(`GRANT ${roles.group(role)} TO ${roles.user('worker')}`);
      }
      broker = await startRabbitMq();
      const port = await freePort();
      processorUrl = `http://127.0.0.1:${port}`;
      await start(folder('simulated-processor'), ['node', 'server.mjs'], { PORT: `${port}` }).printed(/Simulated/);
      apiUrl = (await api()).url;
    });
    afterAll(async () => {
      await Promise.all(processes.map((each) => each.kill()));
      await broker.remove();
    });

    test.each(['authorization-api', 'auth-processor-worker'])(
      '%s compiles with what it has installed alone',
      async (name) => {
        const { exitCode, output } = await checkout.run('npm run --silent build', { cwd: folder(name) });
        expect({ exitCode, output }).toEqual({ exitCode: 0, output: '' });
      },
    );

    test('a request that no worker takes up in time is answered 202, and can be voided before anybody has asked the processor', async () => {
      const { status, location, body } = await client.authorize('pt_123');
      expect({ status, location, request: body.status }).toEqual({
        status: 202,
        location: `/v1/authorize/${body.authRequestId}`,
        request: 'PENDING',
      });
      expect(await client.void(body.authRequestId)).toMatchObject({
        status: 200,
        body: { status: 'VOIDED', outcome: 'not_required' },
      });
      theWorker = worker();
      const later = await client.authorize('pt_123');
      expect(await client.settled(later.body.authRequestId)).toMatchObject({ status: 'AUTHORIZED' });
      expect(await ledger(body.authRequestId)).toEqual([]);
    });

    test('a request is authorized; sent again under its key it is answered 200 with the same result', async () => {
      const key = 'twice';
      const first = await client.authorize('pt_123', { key });
      const settled = await client.settled(first.body.authRequestId);
      expect(settled).toMatchObject({ status: 'AUTHORIZED', authorizedAmountCents: 1050 });
      expect(await client.authorize('pt_123', { key })).toMatchObject({ status: 200, body: settled });
      expect(await statesOf(settled.authRequestId)).toEqual(['held']);
    });

    test('another request under the same key is refused with 422, as a problem', async () => {
      expect(await client.authorize('pt_123', { key: 'twice', amountCents: 2 })).toMatchObject({
        status: 422,
        contentType: 'application/problem+json',
        body: { code: 'IDEMPOTENCY_KEY_REUSE' },
      });
    });

    test('what is malformed is refused with 400 by the names of what is wrong', async () => {
      const { status, contentType, body } = await client.authorize('pt_123', {
        amountCents: '12',
        cardNumber: '4242424242424242',
      });
      expect({ status, contentType }).toEqual({ status: 400, contentType: 'application/problem+json' });
      expect(body).toMatchObject({
        code: 'INVALID_COMMAND',
        problems: [expect.stringContaining('cardNumber'), expect.stringContaining('amountCents')],
      });
      expect(JSON.stringify(body)).not.toContain('4242');
    });

    test('a request of nobody is answered 404', async () => {
      expect(await client.get('00000000-0000-7000-8000-000000000000')).toMatchObject({ status: 404 });
    });

    test('a decline is a result: DENIED, with its code', async () => {
      const { body } = await client.authorize('pt_declined');
      expect(await client.settled(body.authRequestId)).toMatchObject({
        status: 'DENIED',
        denialCode: 'insufficient_funds',
      });
      expect(await client.void(body.authRequestId)).toMatchObject({ status: 409, body: { code: 'NOT_VOIDABLE' } });
    });

    test.each(['pt_lost_answer', 'pt_timeout', 'pt_unavailable'])(
      'where the first answer does not come (%s) it is asked again, and authorized once',
      async (token) => {
        const { body } = await client.authorize(token);
        expect(await client.settled(body.authRequestId)).toMatchObject({ status: 'AUTHORIZED' });
        expect(await statesOf(body.authRequestId)).toEqual(['held']);
        const [{ retryCount } = {}] = await database.query<{ retryCount: number }>(
          'SELECT retry_count AS "retryCount" FROM auth_request_state WHERE auth_request_id = $1',
          [body.authRequestId],
        );
        expect(retryCount).toBeGreaterThan(0);
      },
    );

    test.each(['pt_123', 'pt_void_lost'])('a void after the authorization releases the money (%s)', async (token) => {
      const { body } = await client.authorize(token);
      await client.settled(body.authRequestId);
      const key = `void ${token}`.replace(' ', '-');
      expect(await client.void(body.authRequestId, key)).toMatchObject({ status: 200, body: { outcome: 'queued' } });
      expect(await client.void(body.authRequestId, key)).toMatchObject({ status: 200, body: { outcome: 'queued' } });
      await until(async () => (await statesOf(body.authRequestId))[0] === 'voided');
      expect(await client.get(body.authRequestId)).toMatchObject({ body: { status: 'VOIDED' } });
    });

    test('a void while the processor is asked releases what it authorizes then', async () => {
      const asking = client.authorize('pt_slow', { key: 'asked' });
      await until(async () => (await ledger()).length > 0 && (await isAsked('asked')));
      const [{ id } = { id: '' }] = await requestOf('asked');
      const voided = await client.void(id);
      expect(voided).toMatchObject({ status: 200, body: { status: 'VOIDED' } });
      expect(['pending', 'queued']).toContain(voided.body.outcome);
      expect(await asking).toMatchObject({ status: 200, body: { status: 'VOIDED' } });
      await until(async () => (await statesOf(id))[0] === 'voided');
    });

    const requestOf = (key: string) =>
      database.query<{ id: string }>(
        'SELECT auth_request_id AS id FROM auth_idempotency_keys WHERE idempotency_key = $1',
        [key],
      );
    const isAsked = async (key: string) => {
      const [request] = await requestOf(key);
      return request !== undefined && (await ledger(request.id)).length > 0;
    };

    test('a restaurant without a configuration gets FAILED, and no processor is asked', async () => {
      const stranger = new ExampleClient(() => apiUrl, '00000000-0000-0000-0000-000000000002');
      const { body } = await stranger.authorize('pt_123');
      expect(await stranger.settled(body.authRequestId)).toMatchObject({ status: 'FAILED' });
      expect(await ledger(body.authRequestId)).toEqual([]);
    });

    test('where a worker is killed while it asks, another takes over, and nothing is authorized twice', async () => {
      const answers = Array.from({ length: 5 }, (_, number) =>
        client.authorize('pt_slow', { key: `killed-${number}` }),
      );
      await until(() => isAsked('killed-0'));
      await theWorker.kill();
      expect((await leases()).length).toBeGreaterThan(0);
      theWorker = worker();
      for (const { body } of await Promise.all(answers)) {
        expect(await client.settled(body.authRequestId)).toMatchObject({ status: 'AUTHORIZED' });
        expect(await statesOf(body.authRequestId)).toEqual(['held']);
      }
    });

    test('SIGTERM of an API and of a worker under load loses nothing, and nothing is authorized twice', async () => {
      const [leaving, other, otherWorker] = [await api(), await api(), worker()];
      const tokens = ['pt_123', 'pt_declined', 'pt_slow', 'pt_lost_answer', 'pt_123'];
      let answered = 0;
      /** A client whose connection breaks sends the same again, to an API that is there. */
      const insist = async (number: number): Promise<Authorization> => {
        await delay(number * 20);
        const [token, key] = [tokens[number % tokens.length]!, `load-${number}`];
        const { status, body } = await client
          .authorize(token, { key, url: leaving.url })
          .catch(() => client.authorize(token, { key, url: other.url }));
        expect({ status, body }).toMatchObject({ status: status === 202 ? 202 : 200 });
        answered++;
        return body;
      };
      const load = Array.from({ length: 100 }, (_, number) => insist(number));
      await until(() => Promise.resolve(answered > 10));
      const ends = Promise.all([leaving.api.stop(), theWorker.stop()]);
      const requests = await Promise.all(load);
      // Nest sends itself the signal again when all is closed.
      expect(await ends).toEqual(['SIGTERM', 'SIGTERM']);
      expect(await leases(theWorker)).toEqual([]);

      expect(new Set(requests.map(({ authRequestId }) => authRequestId)).size).toBe(100);
      for (const [number, { authRequestId }] of requests.entries()) {
        const isDeclined = tokens[number % tokens.length] === 'pt_declined';
        expect(await client.settled(authRequestId)).toMatchObject({ status: isDeclined ? 'DENIED' : 'AUTHORIZED' });
        expect(await statesOf(authRequestId)).toEqual([isDeclined ? 'declined' : 'held']);
      }
      expect(await otherWorker.stop()).toBe('SIGTERM');
    });

    test('in the end no message waits, no lease is held, and the read model is what the events say', async () => {
      theWorker = worker();
      await until(async () => (await database.query('SELECT FROM outbox WHERE processed_at IS NULL')).length === 0);
      await until(async () => (await leases()).length === 0);
      const differences = [];
      for await (const difference of new ReadModel(await database.dataSource()).verify()) differences.push(difference);
      expect(differences).toEqual([]);
      const [{ open } = {}] = await database.query<{ open: number }>(
        `SELECT count(*)::int AS open FROM auth_request_state WHERE status IN ('PENDING', 'PROCESSING') OR attempt_open`,
      );
      expect(open).toBe(0);
    });

    test('every answer of these tests is one of the OpenAPI document', async () => {
      const document = (await (await fetch(`${apiUrl}/openapi.json`)).json()) as {
        paths: Record<string, Record<string, { responses: Record<string, { content?: object }> }>>;
      };
      const routes = Object.keys(document.paths).filter((path) => path.startsWith('/v1/'));
      expect(new Set(client.answers.map(({ route }) => route))).toEqual(new Set(routes));
      const missing = client.answers.filter(
        ({ method, route, status, contentType }) =>
          !(contentType in (document.paths[route]?.[method]?.responses[status]?.content ?? {})),
      );
      expect(missing.map(({ method, route, status }) => `${method} ${route} ${status}`)).toEqual([]);
      expect((await fetch(`${apiUrl}/docs`)).status).toBe(200);
    });

    test('no log has a payment token', () => {
      const lines = processes.flatMap((each) => each.lines).filter((line) => !/^ +curl /.test(line));
      expect(lines.length).toBeGreaterThan(100);
      expect(lines.filter((line) => /pt_\w+/.test(line))).toEqual([]);
    });
  });
});
