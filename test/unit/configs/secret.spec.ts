import { Console } from 'node:console';
import { PassThrough } from 'node:stream';
import { format, inspect } from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { Secret } from '../../../src/configs/secret';
import { InvalidCommandError } from '../../../src/errors';

const TEXT = 'sk_live_5ecre7';
const secret = new Secret(TEXT);
/** As it comes: among other things, in lists and maps, as a key's value. */
const config = { name: 'stripe', secrets: { api_key: secret }, all: [secret], map: new Map([[secret, secret]]) };
const caused = new Error('refused', { cause: secret });
const assigned = Object.assign(new Error('refused'), { config });

test('a secret gives its text to who asks for it', () => {
  expect(secret.reveal()).toBe(TEXT);
  expect(new Secret('').reveal()).toBe('');
});

const deep = { depth: Infinity, showHidden: true, getters: true, showProxy: true, maxStringLength: Infinity };

test.each<[string, () => unknown]>([
  ['util.inspect', () => inspect(config)],
  ['util.inspect of all that is hidden, at any depth', () => inspect([config, caused, assigned], deep)],
  [
    'util.inspect without custom functions',
    () => inspect([config, caused, assigned], { ...deep, customInspect: false }),
  ],
  ['util.format', () => format('%s %o %O %j %d', secret, secret, config, config, secret)],
  ['a template', () => `${secret} ${[secret].join()}`], // eslint-disable-line
  ['a concatenation', () => 'key: ' + secret], // eslint-disable-line
  ['JSON', () => JSON.stringify([config, secret, { ...secret }])],
  ['JSON with the names of own properties', () => JSON.stringify(secret, Object.getOwnPropertyNames(secret))],
  [
    'its keys, entries and symbols',
    () => inspect([Object.entries(secret), Reflect.ownKeys(secret), { ...secret }], deep),
  ],
  ['a structured clone', () => inspect(structuredClone({ secret }), deep)],
  [
    'v8.serialize',
    () => serialize([secret, caused]).toString('latin1') + inspect(deserialize(serialize(secret)), deep),
  ],
  ['a message to a worker', () => inspect(posted(), deep)],
  ['console.log, dir and table', logged],
  ['the cause of an error', () => inspect(caused) + String(caused.stack) + JSON.stringify(caused, ['cause'])],
  ['the message of an assertion', () => failureOf(() => expect(config).toEqual({ secrets: TEXT.length }))],
  ['the message of an assertion on itself', () => failureOf(() => expect(secret).toBe(1))],
])('a secret shows nothing in %s', (_way, show) => {
  const shown = String(show());
  expect(shown.length).toBeGreaterThan(0);
  expect(shown).not.toContain('5ecre7');
});

test('a secret never changes', () => {
  expect(Object.isFrozen(secret)).toBe(true);
});

test('a secret is made of text alone, and what else there is is not shown', () => {
  for (const wrong of [undefined, null, 5, Buffer.from(TEXT), { text: TEXT }, [TEXT]]) {
    const error = thrownBy(() => new Secret(wrong as unknown as string));
    expect(error).toBeInstanceOf(InvalidCommandError);
    expect(inspect(error, deep)).not.toContain('5ecre7');
  }
});

function posted(): unknown {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage({ secret });
  const message: unknown = receiveMessageOnPort(port2);
  port1.close();
  return message;
}

function logged(): string {
  const stream = new PassThrough();
  const console = new Console(stream);
  console.log(secret, config, '%s', secret);
  console.dir(config, { depth: null, showHidden: true });
  console.table([{ secret }]);
  return String(stream.read());
}

const failureOf = (assert: () => void) => (thrownBy(assert) as Error).message;

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('It succeeded, and should not have.');
}
