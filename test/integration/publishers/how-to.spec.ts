import { AuthRequests } from '../../../src';
import { anAuthorizeCommand } from '../../support/auth-requests';
import { codeBlocks, DocProject, promisedOutput } from '../../support/doc-code';
import { describeRabbitMq, type RabbitMq, startRabbitMq } from '../../support/rabbitmq';
import { SqsServer } from '../../support/sqs-server';
import { useTestDatabase } from '../../support/use-test-database';

jest.setTimeout(120_000);

const database = useTestDatabase();
const pages = { sqs: 'docs/how-to/publish-to-sqs.md', amqp: 'docs/how-to/publish-to-amqp.md' };
const code = (name: keyof typeof pages) => codeBlocks(pages[name], 'ts');
// The queues of the SQS server have a host name that does not resolve, so the client is told where it is.
const located = (text: string) =>
  text.replace('new SQSClient({})', 'new SQSClient({ endpoint: process.env.SQS_ENDPOINT! })');
const project = new DocProject({ sqs: located(code('sqs')), amqp: code('amqp') });

let sqs: SqsServer;

beforeAll(async () => {
  sqs = await SqsServer.start();
});
afterAll(async () => {
  project.remove();
  await sqs.remove();
});
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  const requests = new AuthRequests(await database.dataSource());
  await requests.authorize(anAuthorizeCommand({ restaurantId: '00000000-0000-0000-0000-000000000001' }));
});

it('publish-to-sqs prints what it says', async () => {
  const printed = await project.run('sqs', {
    DATABASE_URL: database.url,
    AUTH_REQUESTS_QUEUE_URL: await sqs.createQueue('requests.fifo'),
    VOID_REQUESTS_QUEUE_URL: await sqs.createQueue('voids'),
    SQS_ENDPOINT: sqs.endpoint,
    AWS_REGION: 'eu-west-1',
    AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'secret',
  });
  expect(printed).toEqual(promisedOutput(code('sqs')));
});

describeRabbitMq('publish-to-amqp', () => {
  let broker: RabbitMq;
  beforeAll(async () => {
    broker = await startRabbitMq();
  });
  afterAll(() => broker.remove());

  it('prints what it says', async () => {
    expect(await project.run('amqp', { DATABASE_URL: database.url, AMQP_URL: broker.url })).toEqual(
      promisedOutput(code('amqp')),
    );
  });
});
