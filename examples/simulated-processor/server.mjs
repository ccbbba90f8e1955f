// A payment processor that remembers what it has authorized, in a process of its own, and has the troubles that a real one has.
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** What a payment token has it do, the first time that it is asked something under a key (`isFirst`) and later. */
const TOKENS = {
  pt_declined: () => ({ declines: true }),
  pt_slow: () => ({ thinksForMs: 2_000 }),
  pt_unavailable: ({ isFirst }) => ({ isAway: isFirst }),
  pt_lost_answer: ({ isFirst }) => ({ losesAnswer: isFirst }),
  pt_timeout: ({ isFirst }) => ({ neverAnswers: isFirst }),
  pt_void_lost: ({ isFirst, isVoid }) => ({ losesAnswer: isFirst && isVoid }),
};

/** What it has said, by account and idempotency key, and the tokens by what it has said. */
const lines = new Map();
const tokens = new Map();
/** Each path and key that it was asked. */
const asked = new Set();

/** The same key is answered with the first answer. */
function authorize({ account, paymentToken, amountCents, currency }, key, declines) {
  const known = lines.get(`${account} ${key}`);
  if (known) return known;
  const number = lines.size + 1;
  const answer = declines
    ? { state: 'declined', declineCode: 'insufficient_funds' }
    : { state: 'held', authorizationCode: `A${number}` };
  const line = { id: `sim_${number}`, key, account, amountCents, currency, ...answer };
  lines.set(`${account} ${key}`, line);
  tokens.set(line, paymentToken);
  return line;
}

/** One that is voided stays so. */
function voided(line) {
  if (line.state === 'held') line.state = 'voided';
  return line;
}

async function answer({ method, url, headers, socket }, response, body) {
  if (method === 'GET') return [...lines.values()];
  const [, , id, action] = url.split('/');
  const line = [...lines.values()].find((each) => each.id === id);
  if (id && !line) return void response.writeHead(404).end();

  const key = headers['idempotency-key'];
  const question = { isFirst: !asked.has(`${url} ${key}`), isVoid: action === 'void' };
  asked.add(`${url} ${key}`);
  const trouble = TOKENS[line ? tokens.get(line) : body.paymentToken]?.(question) ?? {};

  if (trouble.isAway) return void response.writeHead(503).end();
  const said = line ? voided(line) : authorize(body, key, trouble.declines);
  await delay(trouble.thinksForMs ?? 0);
  if (trouble.losesAnswer) return void socket.destroy();
  return trouble.neverAnswers ? undefined : said;
}

const server = createServer(async (request, response) => {
  const chunks = await request.toArray();
  const said = await answer(request, response, JSON.parse(Buffer.concat(chunks).toString() || '{}'));
  if (said) response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(said));
});
server.listen(Number(process.env.PORT ?? 4000), '127.0.0.1', () =>
  console.log(`Simulated processor at http://127.0.0.1:${server.address().port}`),
);
