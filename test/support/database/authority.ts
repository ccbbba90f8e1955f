import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

cryptoProvider.set(webcrypto as never);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
const keyPair = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
type Keys = Awaited<ReturnType<typeof keyPair>>;

/** A certificate and its key, in PEM. */
export interface SignedCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** An authority of a test's own, which nobody knows but who is told. */
export class Authority {
  private constructor(
    private readonly root: X509Certificate,
    private readonly keys: Keys,
  ) {}

  static async create(): Promise<Authority> {
    const keys = await keyPair();
    const root = await X509CertificateGenerator.createSelfSigned({
      name: 'CN=Authority of a test',
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    return new Authority(root, keys);
  }

  /** Its own certificate, by which those that it has signed are known. */
  get certificate(): string {
    return this.root.toString('pem');
  }

  /** @param notAfter until when it is valid */
  async sign(name: string, notAfter = new Date(Date.now() + DAY_MS)): Promise<SignedCertificate> {
    const keys = await keyPair();
    const certificate = await X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: this.root.subject,
      publicKey: keys.publicKey,
      signingKey: this.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter,
      extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: name }])],
    });
    const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return { certificate: certificate.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') };
  }
}
