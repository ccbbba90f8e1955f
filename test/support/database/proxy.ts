import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A network between client and server that a test can break. Clients of {@link Proxy.url} go through it.
 *
 * `swallow` is what a dead router does: the connection stays open and nothing comes back, not even the end. Where it
 * swallows `answers`, the server does what it was asked to.
 */
export class Proxy {
  /** Applies to each direction, from the next packet on. */
  delayMs = 0;
  swallow: 'nothing' | 'requests' | 'answers' = 'nothing';
  /** Has the server say in the packet in which it is ready for a query that it ends the session. */
  endWhenReady = false;
  /** Sees every packet: what it returns goes on in its place, after which the connection ends where it says so. */
  intercept: ((what: 'requests' | 'answers', data: Buffer) => { pass: Buffer; end: boolean } | undefined) | undefined;
  #target: URL;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => this.#join(client));
  }

  static async start(target: string): Promise<Proxy> {
    const proxy = new Proxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** The target's URL by way of here. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return url.href;
  }

  /** Where new connections lead from now on. Those that are there stay, as with a name or an address that moves. */
  repoint(target: string): void {
    this.#target = new URL(target);
  }

  /** Carries nothing more on any connection there is, not even its end, as a network that has forgotten them; new ones pass. */
  forget(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  /** Resets every connection there is; new ones pass. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** From now on nobody listens here. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #join(client: Socket): void {
    const server = connect({
      host: this.#target.hostname,
      port: Number(this.#target.port),
      noDelay: true,
      allowHalfOpen: true,
    });
    this.#carry(client, server, 'requests');
    this.#carry(server, client, 'answers');
  }

  /** A swallowed end is sent again, as by a kernel, until it gets through. */
  #passEnd(to: Socket, what: 'requests' | 'answers'): void {
    if (this.swallow === what) setTimeout(() => this.#passEnd(to, what), 20).unref();
    else to.end();
  }

  #carry(from: Socket, to: Socket, what: 'requests' | 'answers'): void {
    this.#sockets.add(from);
    from
      .on('data', (data) => {
        if (this.swallow === what) return;
        const intercepted = this.intercept?.(what, data);
        if (intercepted) {
          to.write(intercepted.pass);
          if (intercepted.end) for (const socket of [from, to]) socket.destroySoon();
          return;
        }
        const ends = this.endWhenReady && what === 'answers' && data.subarray(-READY.length).equals(READY);
        const packet = ends ? Buffer.concat([data, TERMINATED]) : data;
        if (this.delayMs === 0) to.write(packet);
        else setTimeout(() => to.write(packet), this.delayMs);
      })
      .on('end', () => this.#passEnd(to, what))
      .on('error', () => undefined)
      .on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
  }
}

/** ReadyForQuery, and the ErrorResponse of pg_terminate_backend (PostgreSQL manual, "Message Formats"). */
const READY = Buffer.from('Z\0\0\0\x05I');
const FIELDS = Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0');
const TERMINATED = Buffer.concat([Buffer.from([0x45, 0, 0, 0, FIELDS.length + 4]), FIELDS]);
