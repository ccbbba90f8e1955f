// Starts both services with all that they need, until Ctrl-C.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startBroker } from './support/broker.mjs';
import { startDatabase } from './support/database.mjs';
import { Service } from './support/service.mjs';

const HERE = import.meta.dirname;
const API_PORT = process.env.PORT ?? '3000';
const PROCESSOR_PORT = process.env.PROCESSOR_PORT ?? '4000';
const API_URL = `http://localhost:${API_PORT}`;
const PROCESSOR_URL = `http://127.0.0.1:${PROCESSOR_PORT}`;

const HEADERS = `-H 'Restaurant-Id: 00000000-0000-0000-0000-000000000001' -H 'Content-Type: application/json'`;
const INSTRUCTIONS = `
Ready: ${API_URL}/docs shows what the API can do. In another terminal, with the authRequestId of the first answer as ID:

  curl -i ${API_URL}/v1/authorize ${HEADERS} -H 'Idempotency-Key: order-42' -d '{"paymentToken":"pt_123","amountCents":1050,"currency":"USD"}'
  curl -i ${API_URL}/v1/authorize/ID ${HEADERS}
  curl -i ${API_URL}/v1/authorize/ID/void ${HEADERS} -H 'Idempotency-Key: order-42-void' -d '{"reason":"the guest has left"}'

Ctrl-C ends all of it.`;

const interrupted = new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
/** The last that was started is stopped first. */
const stops = [];

try {
  await Promise.race([run(), interrupted]);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  console.log('Stopping …');
  for (const stop of stops.toReversed()) await stop();
}

async function run() {
  console.log('Starting RabbitMQ and PostgreSQL …');
  const broker = await startBroker();
  stops.push(broker.stop);
  const database = await startDatabase();
  stops.push(database.stop);

  const services = [
    start('simulated-processor', ['node', 'server.mjs'], { PORT: PROCESSOR_PORT }),
    start('auth-processor-worker', ['node', 'dist/main.js'], {
      DATABASE_URL: database.urls.auth_processor_worker,
      BROKER_URL: broker.url,
      PROCESSOR_URL,
    }),
    start('authorization-api', ['node', 'dist/main.js'], {
      DATABASE_URL: database.urls.authorization_api,
      PORT: API_PORT,
    }),
  ];
  const ended = Promise.race([...services.map((service) => service.ended), broker.ended ?? new Promise(() => {})]);
  await Promise.race([ready(), ended]);
  console.log(INSTRUCTIONS);
  throw new Error(await ended);
}

function start(name, command, env) {
  const service = new Service(name, command, { cwd: join(HERE, name), env });
  stops.push(() => service.stop());
  return service;
}

async function ready() {
  while (!(await fetch(`${API_URL}/health/ready`).catch(() => undefined))?.ok) await delay(200);
}
