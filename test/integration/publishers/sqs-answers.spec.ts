import { createHash } from 'node:crypto';
import { type SQSClient } from '@aws-sdk/client-sqs';
import { BrokerUnavailableError } from '../../../src/outbox/delivery';
import { SqsPublisher } from '../../../src/publishers/sqs/sqs-publisher';
import { SQS_CODES } from '../../../src/publishers/sqs/sqs-codes';
import { type Answer, HttpAnswers } from '../../support/processes/http-answers';
import { aRelayMessage, shownOf } from '../../support/relay/relayed';
import { clientOf } from '../../support/relay/sqs-server';
import { failureOf } from '../../support/processes/within';

/** Answers of SQS that no stand-in gives, in its protocol, over the wire. */
let answers: HttpAnswers;
let client: SQSClient;

beforeAll(async () => {
  answers = await HttpAnswers.start();
  client = clientOf(answers.endpoint);
});
afterAll(async () => {
  client.destroy();
  await answers.close();
});

const publish = (count: number, answer: Answer, using = client) => {
  answers.requests.length = 0;
  answers.answer = answer;
  const queues = { auth_request_queued: `${answers.endpoint}/000000000000/requests.fifo` };
  const messages = Array.from({ length: count }, () => aRelayMessage());
  return new SqsPublisher({ client: using, queues }).publish(messages, AbortSignal.timeout(5_000));
};
const idsIn = (body: string) => (JSON.parse(body) as { Entries: { Id: string }[] }).Entries.map(({ Id }) => Id);
const bodyDigest = createHash('md5').update(Buffer.from('p').toString('base64')).digest('hex');
const taken = (Id: string) => ({ Id, MessageId: 'm', MD5OfMessageBody: bodyDigest });
const error = (status: number, type: string, message = 'no') => ({
  status,
  body: { __type: `com.amazonaws.sqs#${type}`, message },
});

it('tells what happened to each message of a batch that was taken in part', async () => {
  const Failed = [
    { Id: '1', Code: 'InvalidMessageContents', Message: 'Invalid characters found.', SenderFault: true },
    { Id: '2', Code: 'ThrottlingException', Message: 'Rate exceeded', SenderFault: true },
    { Id: '3', Code: 'InternalError', SenderFault: false },
  ];
  const outcomes = await publish(5, () => ({ status: 200, body: { Successful: [taken('0')], Failed } }));
  expect(outcomes).toEqual([
    { published: true },
    { published: false, permanent: true, reason: 'SQS refused it: InvalidMessageContents: Invalid characters found.' },
    {
      published: false,
      permanent: false,
      brokerFault: true,
      reason: 'SQS refused it: ThrottlingException: Rate exceeded',
    },
    { published: false, permanent: false, brokerFault: true, reason: 'SQS refused it: InternalError' },
    { published: false, reason: 'SQS did not say whether it took it.' },
  ]);
});

it('sends the messages one by one where a fault of one fails the batch, in their order', async () => {
  const outcomes = await publish(3, (body) => {
    const ids = idsIn(body);
    if (ids.includes('1')) return error(400, 'InvalidParameterValue', 'Value is invalid.');
    return { status: 200, body: { Successful: ids.map(taken) } };
  });
  expect(answers.requests.map(idsIn)).toEqual([['0', '1', '2'], ['0'], ['1'], ['2']]);
  expect(outcomes).toEqual([
    { published: true },
    { published: false, permanent: true, reason: 'SQS refused it: InvalidParameterValue: Value is invalid.' },
    { published: true },
  ]);
});

it.each([
  ['an error of its own', 500, 'InternalFailure'],
  ['an outage', 503, 'ServiceUnavailable'],
  ['a throttled request', 400, 'RequestThrottled'],
  ['expired credentials', 403, 'ExpiredToken'],
  ['missing permissions', 403, 'AccessDeniedException'],
  ['a key that cannot be used', 400, 'KmsDisabled'],
])('counts nothing against the messages for %s', async (_what, status, type) => {
  const failure = await failureOf(publish(2, () => error(status, type)));
  expect(failure).toBeInstanceOf(BrokerUnavailableError);
  expect((failure as Error).message).toContain(`${type} (HTTP ${status})`);
});

describe('the codes of SQS', () => {
  const codesOf = (wanted: string) => SQS_CODES.filter(([, fault]) => fault === wanted).map(([code]) => code);
  const old = ['KMS.DisabledException', 'KMS.ThrottlingException', 'KmsSomethingNew', 'com.amazonaws.sqs#Throttling'];
  const failing = (Code: string, SenderFault = true) => ({
    status: 200,
    body: { Successful: [taken('0')], Failed: [{ Id: '1', Code, SenderFault }] },
  });

  it.each([...codesOf('broker'), ...old])('count %s against no message, told of one or of all', async (code) => {
    const [, one] = await publish(2, () => failing(code));
    expect(one).toEqual({
      published: false,
      permanent: false,
      brokerFault: true,
      reason: `SQS refused it: ${code}`,
    });
    const ofAll = publish(2, () => error(400, code.replace(/^.*#/, '')));
    expect(await failureOf(ofAll)).toBeInstanceOf(BrokerUnavailableError);
    const ofEach = publish(1, () => ({ status: 200, body: { Failed: [{ Id: '0', Code: code, SenderFault: true }] } }));
    expect(await failureOf(ofEach)).toBeInstanceOf(BrokerUnavailableError);
  });

  it.each([...codesOf('message'), 'AWS.SimpleQueueService.BatchRequestTooLong'])(
    'fail a message at once for %s, and it alone',
    async (code) => {
      expect(await publish(2, () => failing(code))).toEqual([
        { published: true },
        { published: false, permanent: true, reason: `SQS refused it: ${code}` },
      ]);
      const ofAll = await publish(2, (body) => {
        const ids = idsIn(body);
        return ids.includes('1') ? error(400, code) : { status: 200, body: { Successful: ids.map(taken) } };
      });
      expect(ofAll).toMatchObject([{ published: true }, { published: false, permanent: true }]);
    },
  );

  it.each([...codesOf('queue'), 'AWS.SimpleQueueService.NonExistentQueue'])(
    'count %s, so that it is tried again and given up in the end',
    async (code) => {
      const [, one] = await publish(2, () => failing(code));
      expect(one).toEqual({ published: false, permanent: false, reason: `SQS refused it: ${code}` });
      expect(await publish(2, () => error(400, code))).toMatchObject([
        { published: false, reason: expect.stringContaining('does not exist') as string },
        { published: false, reason: expect.stringContaining('does not exist') as string },
      ]);
    },
  );

  it('leave it to SQS whose fault a code is that nobody knows, and to the relay where it says so of all', async () => {
    const [[, senders], [, servers]] = [
      await publish(2, () => failing('Novelty', true)),
      await publish(2, () => failing('Novelty', false)),
    ];
    expect(senders).toEqual({ published: false, permanent: false, reason: 'SQS refused it: Novelty' });
    expect(servers).toMatchObject({ published: false, brokerFault: true });
    const ofAll = await failureOf(publish(2, () => error(400, 'Novelty')));
    expect(ofAll).not.toBeInstanceOf(BrokerUnavailableError);
    expect((ofAll as Error).message).toContain('Novelty (HTTP 400)');
    expect(await failureOf(publish(2, () => error(500, 'Novelty')))).toBeInstanceOf(BrokerUnavailableError);
  });

  it('of one queue say nothing about another', async () => {
    answers.answer = (body) =>
      body.includes('locked')
        ? error(403, 'AccessDeniedException')
        : { status: 200, body: { Successful: idsIn(body).map(taken) } };
    const url = (name: string) => `${answers.endpoint}/000000000000/${name}`;
    const queues = { auth_request_queued: url('locked.fifo'), void_request_queued: url('voids') };
    const messages = [aRelayMessage(), aRelayMessage({ messageType: 'void_request_queued' })];
    expect(await new SqsPublisher({ client, queues }).publish(messages, AbortSignal.timeout(5_000))).toMatchObject([
      { published: false, brokerFault: true },
      { published: true },
    ]);
  });
});

it('leaves it to the relay to find a message that the client cannot write down', async () => {
  const broken = clientOf(answers.endpoint);
  broken.middlewareStack.add(() => () => Promise.reject(new TypeError('cannot read hunter2')), { step: 'initialize' });
  const failure = await failureOf(publish(2, () => error(500, 'never asked'), broken));
  broken.destroy();
  expect(failure).not.toBeInstanceOf(BrokerUnavailableError);
  expect(shownOf(failure)).not.toContain('hunter2');
});

it('never shows what SQS quotes of a request with a wrong signature', async () => {
  const quote = 'The canonical string should have been x-amz-security-token:hunter2-of-the-session';
  const failure = await failureOf(publish(1, () => error(403, 'SignatureDoesNotMatch', quote)));
  expect(failure).toBeInstanceOf(BrokerUnavailableError);
  expect(shownOf(failure)).not.toContain('hunter2');
});

it('waits for credentials that cannot be had, without a word of what their provider says', async () => {
  const without = clientOf(answers.endpoint, {
    credentials: () =>
      Promise.reject(Object.assign(new Error('the vault said: hunter2'), { name: 'CredentialsProviderError' })),
  });
  const failure = await failureOf(publish(1, () => error(500, 'never asked'), without));
  without.destroy();
  expect(failure).toBeInstanceOf(BrokerUnavailableError);
  expect(shownOf(failure)).toContain('CredentialsProviderError');
  expect(shownOf(failure)).not.toContain('hunter2');
  expect(answers.requests).toEqual([]);
});

it('finds each queue where its URL points, when the client names no endpoint', async () => {
  const elsewhere = clientOf(undefined, { logger: { debug() {}, info() {}, warn() {}, error() {} } });
  const take: Answer = (body) => ({ status: 200, body: { Successful: idsIn(body).map(taken) } });
  expect(await publish(1, take, elsewhere)).toEqual([{ published: true }]);
  elsewhere.destroy();
});
