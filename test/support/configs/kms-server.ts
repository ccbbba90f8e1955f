import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import { KMSClient, type KMSClientConfig } from '@aws-sdk/client-kms';

/** What AWS KMS is made to do instead of serving a request. */
export type Trouble =
  | { status: number; type: string; message?: string }
  | { status: number; html: string }
  | { answer: object }
  /** The connection is reset. */
  | 'reset'
  /** There is no answer. */
  | 'hang';

type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport' | 'Unavailable' | 'denied' | 'HMAC';

interface Key {
  readonly arn: string;
  readonly material: Buffer;
  state: KeyState;
}

interface Asked {
  readonly operation: string;
  readonly input: Record<string, unknown>;
}

/** Of whatever operation, as far as they are used. */
interface Members {
  readonly KeyId: string;
  readonly CiphertextBlob: string;
  readonly EncryptionContext: object;
  readonly SourceKeyId: string;
  readonly SourceEncryptionContext: object;
  readonly DestinationKeyId: string;
  readonly DestinationEncryptionContext: object;
}

class Refusal extends Error {
  constructor(
    readonly type: string,
    message: string,
    readonly status = 400,
  ) {
    super(message);
  }
}

/** The members that the API reference lists, those that are required first. */
const MEMBERS: Readonly<Record<string, readonly [required: string[], optional: string[]]>> = {
  GenerateDataKey: [['KeyId'], ['DryRun', 'EncryptionContext', 'GrantTokens', 'KeySpec', 'NumberOfBytes', 'Recipient']],
  Decrypt: [
    ['CiphertextBlob'],
    ['DryRun', 'EncryptionAlgorithm', 'EncryptionContext', 'GrantTokens', 'KeyId', 'Recipient'],
  ],
  ReEncrypt: [
    ['CiphertextBlob', 'DestinationKeyId'],
    [
      ...['DestinationEncryptionAlgorithm', 'DestinationEncryptionContext', 'DryRun', 'GrantTokens'],
      ...['SourceEncryptionAlgorithm', 'SourceEncryptionContext', 'SourceKeyId'],
    ],
  ],
};

/** In every message of an error, as a real one may quote anything: nothing of it may come through. */
export const KMS_QUOTES = 'User: arn:aws:sts::123456789012:assumed-role/payments/5ecre7';

/**
 * A server that speaks the protocol of AWS KMS (JSON 1.1 over HTTP, `x-amz-target: TrentService.…`) for three operations, by
 * the request and answer shapes, the errors and the states of keys of its API reference. It encrypts for real: a blob that
 * was changed, or that comes with another encryption context, does not open.
 *
 * What AWS KMS does and it does not: check signatures, policies and quotas.
 */
export class KmsServer {
  readonly asked: Asked[] = [];
  /** Asked before each request; undefined serves it. */
  trouble: (asked: Asked) => Trouble | undefined = () => undefined;
  readonly #keys = new Map<string, Key>();
  readonly #aliases = new Map<string, string>();
  #server: Server | undefined;
  #port = 0;

  static async start(): Promise<KmsServer> {
    const server = new KmsServer();
    await server.start();
    return server;
  }

  /** Starts it, again after {@link stop}, at the same address and with its keys. */
  async start(): Promise<void> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server!, 'close');
    this.#server!.close();
    this.#server!.closeAllConnections();
    await closed;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** @returns the ARN of a new key */
  createKey(): string {
    const arn = `arn:aws:kms:eu-west-1:123456789012:key/${randomUUID()}`;
    this.#keys.set(arn, { arn, material: randomBytes(32), state: 'Enabled' });
    return arn;
  }

  createAlias(name: string, arn: string): void {
    this.#aliases.set(name, arn);
  }

  setState(arn: string, state: KeyState): void {
    this.#keys.get(arn)!.state = state;
  }

  deleteKey(arn: string): void {
    this.#keys.delete(arn);
  }

  client(config: KMSClientConfig = {}): KMSClient {
    return new KMSClient({
      endpoint: this.endpoint,
      region: 'eu-west-1',
      credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'hunter2-of-kms' },
      maxAttempts: 1,
      ...config,
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = Buffer.concat(await request.toArray()).toString();
    const [service, operation = ''] = String(request.headers['x-amz-target']).split('.');
    const asked = { operation, input: JSON.parse(text) as Record<string, unknown> };
    this.asked.push(asked);
    const isSigned = /^AWS4-HMAC-SHA256 .*\/kms\/aws4_request/.test(request.headers.authorization ?? '');
    const isSpoken = service === 'TrentService' && request.headers['content-type'] === 'application/x-amz-json-1.1';
    const trouble = isSigned && isSpoken ? this.trouble(asked) : { status: 400, type: 'MissingAuthenticationToken' };
    if (trouble === 'hang') return;
    if (trouble === 'reset') return void request.socket.resetAndDestroy();
    if (trouble && 'html' in trouble) {
      return void response.writeHead(trouble.status, { 'content-type': 'text/html' }).end(trouble.html);
    }
    const { status, body } = trouble ? answerTo(trouble) : this.#answer(asked);
    const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': randomUUID() };
    response.writeHead(status, headers).end(JSON.stringify(body));
  }

  #answer(asked: Asked): { status: number; body: object } {
    try {
      return { status: 200, body: this.#perform(asked) };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return answerTo(error);
    }
  }

  #perform({ operation, input }: Asked): object {
    const members = MEMBERS[operation];
    if (!members) throw new Refusal('UnknownOperationException', '');
    const [required, optional] = members;
    const isWellFormed =
      required.every((name) => name in input) &&
      Object.keys(input).every((name) => [...required, ...optional].includes(name));
    if (!isWellFormed) throw new Refusal('ValidationException', `Validation error detected. ${KMS_QUOTES}`);
    const { KeyId, CiphertextBlob, EncryptionContext: context } = input as unknown as Members;
    if (operation === 'GenerateDataKey') {
      if (input.KeySpec !== 'AES_256') throw new Refusal('ValidationException', 'KeySpec');
      const key = this.#usable(KeyId, 'GenerateDataKey');
      const plain = randomBytes(32);
      const blob = seal(key, context, plain);
      return {
        CiphertextBlob: blob,
        Plaintext: plain.toString('base64'),
        KeyId: key.arn,
        KeyMaterialId: 'a'.repeat(64),
      };
    }
    if (operation === 'Decrypt') {
      const { key, plain } = this.#open(CiphertextBlob, context, KeyId, 'Decrypt');
      return { KeyId: key.arn, Plaintext: plain.toString('base64'), EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
    }
    const { SourceKeyId, SourceEncryptionContext, DestinationKeyId, DestinationEncryptionContext } =
      input as unknown as Members;
    const { key, plain } = this.#open(CiphertextBlob, SourceEncryptionContext, SourceKeyId, 'ReEncryptFrom');
    const destination = this.#usable(DestinationKeyId, 'ReEncryptTo');
    const blob = seal(destination, DestinationEncryptionContext, plain);
    return { CiphertextBlob: blob, SourceKeyId: key.arn, KeyId: destination.arn };
  }

  #usable(name: string, action: string): Key {
    const arn =
      this.#aliases.get(name) ?? (name.startsWith('arn:') ? name : `arn:aws:kms:eu-west-1:123456789012:key/${name}`);
    const key = this.#keys.get(arn);
    if (!key) throw new Refusal('NotFoundException', `Key '${arn}' does not exist. ${KMS_QUOTES}`);
    switch (key.state) {
      case 'Enabled':
        return key;
      case 'Disabled':
        throw new Refusal('DisabledException', `${arn} is disabled. ${KMS_QUOTES}`);
      case 'HMAC':
        throw new Refusal('InvalidKeyUsageException', `${arn} key usage is GENERATE_VERIFY_MAC. ${KMS_QUOTES}`);
      case 'denied': {
        const message = `${KMS_QUOTES} is not authorized to perform: kms:${action} on resource: ${arn}`;
        throw new Refusal('AccessDeniedException', message);
      }
      case 'PendingDeletion':
      case 'PendingImport':
      case 'Unavailable':
        throw new Refusal('KMSInvalidStateException', `${arn} is ${key.state}. ${KMS_QUOTES}`);
    }
  }

  /** A blob of ours: ARN | 0 | IV | ciphertext | tag. */
  #open(blob: string, context: object, keyId: string | undefined, action: string): { key: Key; plain: Buffer } {
    const bytes = Buffer.from(blob, 'base64');
    const end = bytes.indexOf(0);
    const of = [...this.#keys.values()].find(({ arn }) => arn === bytes.subarray(0, Math.max(end, 0)).toString());
    const key = this.#usable(keyId ?? of?.arn ?? '', action);
    if (of && of !== key) throw new Refusal('IncorrectKeyException', `The key ID does not match. ${KMS_QUOTES}`);
    const sealed = bytes.subarray(end + 1);
    try {
      const decipher = createDecipheriv('aes-256-gcm', key.material, sealed.subarray(0, 12));
      decipher.setAAD(aadOf(context)).setAuthTag(sealed.subarray(-16));
      return { key, plain: Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]) };
    } catch {
      throw new Refusal('InvalidCiphertextException', '');
    }
  }
}

function seal({ arn, material }: Key, context: object, plain: Buffer): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', material, iv).setAAD(aadOf(context));
  const text = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([Buffer.from(arn), Buffer.of(0), iv, text, cipher.getAuthTag()]).toString('base64');
}

const aadOf = (context: object = {}) => Buffer.from(JSON.stringify(Object.entries(context).sort()));

function answerTo(trouble: Exclude<Trouble, string | { html: string }> | Refusal): { status: number; body: object } {
  if ('answer' in trouble) return { status: 200, body: trouble.answer };
  const { status, type, message = KMS_QUOTES } = trouble;
  return { status, body: { __type: type, message } };
}
