import { type ClientBase } from 'pg';

/** Ends a connection at once: a farewell would wait for the answer that does not come. Whatever waits on it fails. */
export function cut(client: ClientBase): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
