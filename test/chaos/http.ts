import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/** Answers a question that was POSTed as JSON. Undefined where it has seen to the response itself. */
export type Answer = (path: string, question: never, response: ServerResponse) => unknown;

/** A server of JSON for the processes of this machine. */
export async function serve(answer: Answer): Promise<{ url: string; close(): Promise<void> }> {
  const server: Server = createServer((request, response) => void take(request, response));
  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    try {
      const said = await answer(request.url!, (await json(request)) as never, response);
      if (said !== undefined) response.end(JSON.stringify(said));
    } catch {
      request.socket.destroy();
    }
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Asks such a server. Rejects where there is no answer, or none that is JSON. */
export async function ask<T>(url: string, question: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(question), ...(signal && { signal }) });
  return (await answer.json()) as T;
}
