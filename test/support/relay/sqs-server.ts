import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
  type SQSClientConfig,
} from '@aws-sdk/client-sqs';
import { BoundProcess, freePort } from '../processes/bound-process';

const START_TIMEOUT_MS = 30_000;
const PROGRAM = join(__dirname, '../../../node_modules/.bin/fauxqs');

/**
 * The npm package fauxqs in a process of its own: speaks the protocol of SQS over HTTP, with FIFO queues that keep the
 * order of a group and swallow what they have seen in the last five minutes.
 *
 * What SQS does and it does not: keep messages when it ends, check credentials, throttle, count attributes, answer with
 * errors of its own. What depends on these is tested against an {@link HttpAnswers}.
 */
export class SqsServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'sqs-'));
  #process: BoundProcess | undefined;

  private constructor(readonly port: number) {}

  static async start(): Promise<SqsServer> {
    const server = new SqsServer(await freePort());
    await server.start().catch(async (error: unknown) => {
      await server.remove();
      throw error;
    });
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it, again after a {@link kill}, then without queues. */
  async start(): Promise<void> {
    const log = join(this.#folder, 'output.log');
    const env = { FAUXQS_PORT: `${this.port}`, FAUXQS_LOGGER: 'false' };
    this.#process = new BoundProcess([process.execPath, PROGRAM], { env, log });
    for (const deadline = Date.now() + START_TIMEOUT_MS; ; await delay(50)) {
      if (
        await fetch(`${this.endpoint}/health`).then(
          ({ ok }) => ok,
          () => false,
        )
      )
        return;
      if (Date.now() > deadline) throw new Error(`The SQS server does not start:\n${readFileSync(log, 'utf8')}`);
    }
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The URL of a new queue; a name that ends in `.fifo` makes it one. */
  async createQueue(name: string, attributes: Record<string, string> = {}): Promise<string> {
    const fifo = name.endsWith('.fifo') && { FifoQueue: 'true' };
    const client = clientOf(this.endpoint);
    const command = new CreateQueueCommand({ QueueName: name, Attributes: { ...fifo, ...attributes } });
    const { QueueUrl } = await client.send(command);
    client.destroy();
    return QueueUrl!;
  }

  /** Every message of a queue, in the order in which a consumer that works one off after the other sees them. */
  async drain(url: string): Promise<Message[]> {
    const client = clientOf(this.endpoint);
    const messages: Message[] = [];
    for (;;) {
      const { Messages } = await client.send(
        new ReceiveMessageCommand({
          QueueUrl: url,
          MaxNumberOfMessages: 10,
          MessageAttributeNames: ['All'],
          MessageSystemAttributeNames: ['All'],
        }),
      );
      if (!Messages?.length) break;
      for (const message of Messages) {
        messages.push(message);
        await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle }));
      }
    }
    client.destroy();
    return messages;
  }
}

/** @param endpoint undefined: where each queue's URL points, as in production */
export function clientOf(endpoint: string | undefined, config: SQSClientConfig = {}): SQSClient {
  return new SQSClient({
    ...(endpoint && { endpoint }),
    region: 'eu-west-1',
    credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'hunter2-of-the-queue' },
    maxAttempts: 1,
    ...config,
  });
}
