import { PaymentEventsDbError } from '../errors';

/**
 * The sealed secrets of a configuration do not open: they, the settings beside them or the data key are not those that
 * they were sealed with, or this version of the package does not know their format.
 */
export class SecretsUnreadableError extends PaymentEventsDbError {
  readonly code = 'SECRETS_UNREADABLE';

  constructor(
    readonly restaurantId: string,
    readonly configVersion: string,
  ) {
    super(
      `The secrets of configuration ${configVersion} of restaurant ${restaurantId} do not open: the row or its data key ` +
        'was changed or moved, or a later version of payment-events-db sealed them. Activate a new version with the ' +
        'secrets from the processor, and find out who changed the row.',
    );
  }
}

/** A key that a data key was wrapped with, or a data key itself, is not there. `keyId` says which. */
export class KeyMissingError extends PaymentEventsDbError {
  readonly code = 'KEY_MISSING';

  constructor(
    readonly keyId: string,
    /** `key-encryption`: of the keyring or the KMS. `data`: a row of data_keys. */
    readonly kind: 'key-encryption' | 'data' = 'key-encryption',
  ) {
    super(
      kind === 'data'
        ? `There is no data key ${keyId} in data_keys. Restore its row from a backup: what it sealed cannot be opened without.`
        : `There is no key-encryption key ${keyId}. Put it back into the keyring, or restore it in the KMS: what it wrapped ` +
            'cannot be opened without.',
    );
  }
}

/** The KMS cannot be reached, is busy or has a fault of its own. What is cached can still be opened. Try again. */
export class KeyUnavailableError extends PaymentEventsDbError {
  readonly code = 'KEY_UNAVAILABLE';
  override readonly retryable = true;

  /** @param reason the name of the error, such as `ThrottlingException` or `ECONNREFUSED` */
  constructor(
    readonly keyId: string,
    readonly reason: string,
  ) {
    super(`Key-encryption key ${keyId} cannot be used now (${reason}). Try again; look at the KMS when it lasts.`);
  }
}

/** Why a key was refused. The message of {@link KeyRefusedError} says of each what to do. */
export type KeyRefusedReason = keyof typeof REFUSED;

const REFUSED = {
  denied: 'The KMS does not let this process use it. Allow its role to, in the policy of the key or of the role.',
  credentials: 'The KMS does not accept the credentials of this process. Correct them, or the clock of the machine.',
  disabled: 'It is disabled. Enable it.',
  state:
    'It waits for its deletion or its key material, or its key store is not connected. Cancel the deletion, or import.',
  kind: 'It is not a symmetric key for encryption. Name one that is.',
  mismatch:
    'The wrapped data key was changed, or was wrapped by another key or for another data key. Restore its row of ' +
    'data_keys from a backup, or the key-encryption key of that id.',
  answer: 'It did not give a data key of 32 bytes. Correct the KeyProvider.',
  request: 'The KMS does not accept the request. Check the id of the key, the region and the endpoint of the client.',
} as const;

/** The key-encryption key is there and may not or cannot be used. The same call fails again until somebody sees to it. */
export class KeyRefusedError extends PaymentEventsDbError {
  readonly code = 'KEY_REFUSED';

  constructor(
    readonly keyId: string,
    readonly reason: KeyRefusedReason,
  ) {
    super(`Key-encryption key ${keyId} was refused. ${REFUSED[reason]}`);
  }
}

/** There is no such version of that restaurant. */
export class ConfigNotFoundError extends PaymentEventsDbError {
  readonly code = 'CONFIG_NOT_FOUND';

  constructor(
    readonly restaurantId: string,
    readonly configVersion: string,
  ) {
    super(`Restaurant ${restaurantId} has no configuration ${configVersion}. \`history\` has those that there are.`);
  }
}

/** Another version is active than the caller knew of. Nothing was written. */
export class ConfigConflictError extends PaymentEventsDbError {
  readonly code = 'CONFIG_CONFLICT';

  constructor(
    readonly restaurantId: string,
    /** Null where none is. */
    readonly activeVersion: string | null,
  ) {
    super(
      `Of restaurant ${restaurantId} ${activeVersion === null ? 'no configuration is' : `configuration ${activeVersion} is`} ` +
        'active. Look at it, then decide again.',
    );
  }
}
