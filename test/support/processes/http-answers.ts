import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';

/** What an HTTP server says next, to a request with that body. */
export type Answer = (body: string) => { status: number; body: object };

/** An HTTP server that says what a test tells it to: the answers of a service that its stand-in never gives. */
export class HttpAnswers {
  readonly requests: string[] = [];
  answer: Answer = () => ({ status: 500, body: {} });
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const text = Buffer.concat(chunks).toString();
          this.requests.push(text);
          const { status, body } = this.answer(text);
          response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body));
        });
    });
  }

  static async start(): Promise<HttpAnswers> {
    const answers = new HttpAnswers();
    answers.#server.listen(0, '127.0.0.1');
    await once(answers.#server, 'listening');
    return answers;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
