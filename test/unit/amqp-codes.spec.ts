import { AMQP_CODES, faultOf } from '../../src/publishers/amqp/amqp-codes';

test('every reply code of AMQP 0-9-1 has somebody whose fault it is', () => {
  // All of them but 200 (success) and 312 (no route), which is how a message comes back.
  const constants = [311, 313, 320, 402, 403, 404, 405, 406, 501, 502, 503, 504, 505, 506, 530, 540, 541];
  expect(AMQP_CODES.map(([code]) => code)).toEqual(constants);
});

test('a connection that is lost without a word is the broker’s fault, a code that nobody knows is unclear', () => {
  expect(faultOf(undefined, 'Socket closed')).toBe('broker');
  expect(faultOf(599, 'NOVELTY')).toBe('unclear');
});

test('a permission that is missing is the account’s fault, but for a single routing key', () => {
  expect(faultOf(403, `ACCESS_REFUSED - access to exchange 'payments' in vhost '/' refused for user 'relay'`)).toBe(
    'broker',
  );
  const topic = `ACCESS_REFUSED - access to topic 'void' in exchange 'payments' in vhost '/' refused for user 'relay'`;
  expect(faultOf(403, topic)).toBe('queue');
});

test('what a message may have caused is never called the broker’s own fault', () => {
  const broker = AMQP_CODES.filter(([, fault]) => fault === 'broker').map(([code]) => code);
  expect(broker).toEqual([320, 402, 403, 506, 530]);
});
