import { Client } from 'pg';
import { cut } from './expect-answer';

type Callback = Parameters<Client['connect']>[0];

/**
 * A client that closes its connection when the login fails. `pg` and its pool leave it to the server, which takes a minute
 * where the URL has no password: so long the process would not end.
 */
export class ClosingClient extends Client {
  override connect(): Promise<Client>;
  override connect(callback: Callback): void;
  override connect(callback?: Callback): Promise<Client> | void {
    if (!callback) {
      return super.connect().catch((error: unknown) => {
        cut(this);
        throw error;
      });
    }
    // Called at once: until the pool has the client, nobody would hear its 'error' event.
    const answer = callback as (error: Error | null, client: Client) => void;
    super.connect((error: Error | null) => {
      if (error) cut(this);
      answer(error, this);
    });
  }
}
