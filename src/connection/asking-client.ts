import { readFileSync } from 'node:fs';
import { type Client, type ClientConfig } from 'pg';
import { ClosingClient } from '../database/closing-client';
import { ConfigurationError, DatabaseUnavailableError } from '../errors';
import { type Certificates } from './tls';

/** What a connection asks for by itself before it logs in. */
export interface Login {
  /** Gives the password of this one connection. */
  readonly askPassword?: () => string | Promise<string>;
  readonly certificates?: Certificates;
}

type Callback = Parameters<Client['connect']>[0];

/** A client that asks for its password, and reads its certificates, at the time that it connects: both may have changed. */
export class AskingClient extends ClosingClient {
  readonly #certificates: Certificates;
  #isAsking = false;

  constructor(config: ClientConfig & Login) {
    super(config);
    const { askPassword, certificates = {} } = config;
    this.#certificates = certificates;
    // The property stays what pg has made it: no log shows it.
    if (askPassword) Object.assign(this, { password: () => this.#ask(askPassword) });
  }

  override connect(): Promise<Client>;
  override connect(callback: Callback): void;
  override connect(callback?: Callback): Promise<Client> | void {
    if (!callback) {
      return new Promise((resolve, reject) =>
        this.connect((error: Error | null) => (error ? reject(error) : resolve(this))),
      );
    }
    const answer = callback as (error: Error | null, client: Client) => void;
    try {
      this.#readCertificates();
    } catch (error) {
      return process.nextTick(answer, error, this);
    }
    super.connect((error: Error | null) => answer(error && this.#isAsking ? unanswered() : error, this));
  }

  #readCertificates(): void {
    // An object of this connection's own where there is TLS, and of its socket's as well.
    const { ssl } = this as unknown as { ssl: boolean | Record<string, unknown> };
    if (typeof ssl !== 'object') return;
    const { ca, caFile, certFile, keyFile } = this.#certificates;
    if (ca) ssl.ca = ca;
    for (const [name, path] of Object.entries({ ca: caFile, cert: certFile, key: keyFile })) {
      if (path) Object.defineProperty(ssl, name, { value: read(path), enumerable: name !== 'key' });
    }
  }

  async #ask(askPassword: () => unknown): Promise<string> {
    this.#isAsking = true;
    let password: unknown;
    try {
      password = await askPassword();
    } catch (error) {
      throw new DatabaseUnavailableError(
        'password',
        `The function that gives the password has failed (${nameOf(error)}). Try again, or correct what it needs.`,
      );
    } finally {
      this.#isAsking = false;
    }
    if (typeof password !== 'string' || password === '') {
      throw new ConfigurationError('The function that gives the password must give text that is not empty.');
    }
    return password;
  }
}

const unanswered = () =>
  new DatabaseUnavailableError(
    'password',
    'The function that gives the password did not answer within connectTimeoutMs. Try again, or correct what it needs.',
  );

/** It was there when the options were made. */
function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new DatabaseUnavailableError(
      'certificate',
      `A file of certificates cannot be read any more (${code}): see caFile, certFile and keyFile, or sslrootcert, sslcert and sslkey.`,
    );
  }
}

/** What a vault says when it gives no credentials is not for a log. */
const nameOf = (error: unknown): string =>
  error instanceof Error && /^\w{1,64}$/.test(error.name) ? error.name : 'unknown';
