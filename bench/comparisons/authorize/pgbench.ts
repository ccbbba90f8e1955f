import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { AUTHORIZE } from '../../../src/auth-requests/authorize';
import { type Contestant } from '../../contestant';
import { type Lab, MOST_CONNECTIONS } from '../../lab/lab';
import { Histogram } from '../../measure/histogram';
import { type Measured } from '../../measure/sample';
import { PREPARED, REQUEST } from './request';

/**
 * pgbench has numbers, not texts, that change from one transaction to the next, so that ids are put together in the
 * statement: a number that grows, in the place of the milliseconds of a UUIDv7, and one that each client has of its own.
 */
const idOf = (kind: number) => `(:milliseconds || '-7${kind}00-8000-' || :client)::uuid`;

const CHANGING: Record<string, string> = {
  idempotency_key: `(:left || '-' || :right)::text`,
  restaurant_id: `('00000000-0000-4000-8000-' || :restaurant)::uuid`,
  auth_request_id: idOf(0),
  event_id: idOf(1),
};

const hex = (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString('hex')}`;

const CONSTANT: Record<string, string> = {
  request_fingerprint: hex(PREPARED.fingerprint),
  payment_token: REQUEST.paymentToken,
  amount_cents: String(REQUEST.amountCents),
  currency: REQUEST.currency,
  request_metadata: PREPARED.metadata,
  event: hex(PREPARED.event),
  event_metadata: PREPARED.eventMetadata,
  message: hex(PREPARED.message),
  headers: PREPARED.headers,
};

const SCRIPT = `
\\set milliseconds :milliseconds + 1
\\set client 100000000000 + :client_id
\\set restaurant random(100000000000, 100000000999)
\\set left random(100000000000000000, 999999999999999999)
\\set right random(100000000000000000, 999999999999999999)
${AUTHORIZE.one.text.replace(
  /\$\d+::(\w+) AS (\w+)/g,
  (_, type: string, column: string) => `${CHANGING[column] ?? `:${column}::${type}`} AS ${column}`,
)};
`;

/** The single statement from a client in C, prepared: what is left when Node costs nothing. Empty where there is no pgbench. */
export async function pgbench(lab: Lab): Promise<Contestant[]> {
  if (spawnSync('pgbench', ['--version']).status !== 0) {
    lab.notice('pgbench is left out, since it is not installed: Debian has it in the package postgresql');
    return [];
  }
  const url = await lab.migratedDatabaseUrl();
  const callers = new Set(lab.settings.callers.map((number) => Math.min(number, MOST_CONNECTIONS)));
  let milliseconds = 100_000_000_000;
  return [...callers].map((number) => ({
    name: 'pgbench',
    title: 'limit: its statement from pgbench, a client in C, prepared',
    load: { callers: number },
    run: (seconds) => runScript(url, number, seconds, (milliseconds += 10_000_000)),
  }));
}

async function runScript(url: string, clients: number, seconds: number, milliseconds: number): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'pgbench-'));
  try {
    const script = join(folder, 'authorize.sql');
    writeFileSync(script, SCRIPT);
    const variables = Object.entries({ ...CONSTANT, milliseconds }).flatMap(([name, value]) => [
      '-D',
      `${name}=${value}`,
    ]);
    const [threads, duration] = [Math.min(2, clients), Math.max(1, Math.round(seconds))];
    const options = ['-n', '-M', 'prepared', '-c', clients, '-j', threads, '-T', duration, '-f', script, '-l'];
    const child = spawn('pgbench', [...options.map(String), `--log-prefix=${join(folder, 'log')}`, ...variables, url], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
    const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    const perSecond = Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
    if (exitCode !== 0 || !(perSecond > 0)) throw new Error(`pgbench has failed:\n${stdout}${stderr}`);
    const latencies = readLogs(folder);
    return { ...latencies, elapsedMs: (latencies.operations / perSecond) * 1_000 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One line a transaction; its third field is the latency in microseconds. */
function readLogs(folder: string): Pick<Measured, 'operations' | 'latencies'> {
  const latencies = new Histogram();
  let operations = 0;
  for (const file of readdirSync(folder).filter((name) => name.startsWith('log'))) {
    for (const line of readFileSync(join(folder, file), 'utf8').trimEnd().split('\n')) {
      latencies.record(Number(line.split(' ')[2]) / 1_000);
      operations += 1;
    }
  }
  return { operations, latencies };
}
