import type * as kms from '@aws-sdk/client-kms';
import { z } from 'zod';
import type * as provider from '../configs/aws-kms-key-provider';
import { ConfigurationError } from '../errors';
import { type KeyProvider } from '../configs/key-provider';
import { readKeyring } from '../configs/local-keyring';

const environment = z.object({
  PAYMENT_EVENTS_DB_KEYRING: z.string().optional(),
  PAYMENT_EVENTS_DB_KMS_KEY_ID: z.string().max(2_048, { error: 'must be at most 2048 characters' }).optional(),
});

/** The variables that {@link readKeys} reads, and what each is. */
export const KEY_VARIABLES: Readonly<Record<keyof typeof environment.shape, string>> = {
  PAYMENT_EVENTS_DB_KEYRING: 'The file of a keyring: `npx payment-events-db secrets add-key` makes one.',
  PAYMENT_EVENTS_DB_KMS_KEY_ID:
    'A key of AWS KMS by ARN, id or alias. The AWS SDK finds region and credentials by itself.',
};

/**
 * Where the environment says that the key-encryption keys are: `PAYMENT_EVENTS_DB_KEYRING`, the file of a keyring, or
 * `PAYMENT_EVENTS_DB_KMS_KEY_ID`, a key of AWS KMS, for which the AWS SDK finds region and credentials by itself. A variable
 * that is empty counts as not set.
 *
 * @throws ConfigurationError none of the two is set, or both are; what is wrong with the keyring; @aws-sdk/client-kms is missing
 */
export async function readKeys(env: NodeJS.ProcessEnv = process.env): Promise<KeyProvider> {
  const read = environment.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== '')));
  if (!read.success) {
    const [{ path, message }] = read.error.issues as [z.core.$ZodIssue];
    throw new ConfigurationError(`${path.join('.')} ${message}.`);
  }
  const { PAYMENT_EVENTS_DB_KEYRING: keyring, PAYMENT_EVENTS_DB_KMS_KEY_ID: kmsKeyId } = read.data;
  if (keyring !== undefined && kmsKeyId === undefined) return await readKeyring(keyring);
  if (kmsKeyId !== undefined && keyring === undefined) return kmsKeys(kmsKeyId);
  throw new ConfigurationError(
    'Say where the keys are that secrets are sealed under: PAYMENT_EVENTS_DB_KEYRING, the file of a keyring ' +
      '(npx payment-events-db secrets add-key makes one), or PAYMENT_EVENTS_DB_KMS_KEY_ID, a key of AWS KMS; not both.',
  );
}

function kmsKeys(keyId: string): KeyProvider {
  try {
    // Optional, so that they are loaded by nobody who has no use for them.
    /* eslint-disable @typescript-eslint/no-require-imports */
    const { KMSClient } = require('@aws-sdk/client-kms') as typeof kms;
    const { AwsKmsKeyProvider } = require('../configs/aws-kms-key-provider') as typeof provider;
    /* eslint-enable @typescript-eslint/no-require-imports */
    return new AwsKmsKeyProvider({ client: new KMSClient({}), keyId });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    throw new ConfigurationError('PAYMENT_EVENTS_DB_KMS_KEY_ID needs a package: npm install @aws-sdk/client-kms');
  }
}
