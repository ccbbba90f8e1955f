import { createHash } from 'node:crypto';
import { type SQSClient } from '@aws-sdk/client-sqs';
import { BrokerUnavailableError } from '../../../src/outbox/delivery';
import { SqsPublisher } from '../../../src/publishers/sqs';
import { type Answer, HttpAnswers } from '../../support/http-answers';
import { aRelayMessage, shownOf } from '../../support/relayed';
import { clientOf } from '../../support/sqs-server';
import { failureOf } from '../../support/within';

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

it('tells what became of each message of a batch that was taken in part', async () => {
  const Failed = [
    { Id: '1', Code: 'InvalidMessageContents', Message: 'Invalid characters found.', SenderFault: true },
    { Id: '2', Code: 'ThrottlingException', Message: 'Rate exceeded', SenderFault: true },
    { Id: '3', Code: 'InternalError', SenderFault: false },
  ];
  const outcomes = await publish(5, () => ({ status: 200, body: { Successful: [taken('0')], Failed } }));
  expect(outcomes).toEqual([
    { published: true },
    { published: false, permanent: true, reason: 'SQS refused it: InvalidMessageContents: Invalid characters found.' },
    { published: false, permanent: false, reason: 'SQS refused it: ThrottlingException: Rate exceeded' },
    { published: false, permanent: false, reason: 'SQS refused it: InternalError' },
    { published: false, reason: 'SQS did not say what became of it.' },
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
