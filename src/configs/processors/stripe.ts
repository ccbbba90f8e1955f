import { BASE_URL, type ProcessorDefinition, TIMEOUT_SECONDS } from './processor';

/** Settings of a configuration for Stripe. */
export interface StripeSettings {
  /** The connected account that is charged for: `acct_…`. Default: the account of the key. */
  account?: string;
  /** Version of Stripe's API, such as `2025-06-30`. Default: that of the account. */
  api_version?: string;
  /** Default: Stripe's own. */
  base_url?: string;
  /** What the card's statement says: 22 characters at most. */
  statement_descriptor?: string;
  timeout_seconds?: number;
}

/** Secrets of a configuration for Stripe. */
export interface StripeSecrets {
  api_key: string;
  /** The same, by the name that legacy services gave it. Only versions of theirs have it. */
  stripe_api_key?: string;
  /** Verifies what webhooks bring. */
  webhook_secret?: string;
}

export const stripe: ProcessorDefinition = {
  name: 'stripe',
  secretFields: ['api_key', 'stripe_api_key', 'webhook_secret'],
  requiredSecretFields: ['api_key'],
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      account: { type: 'string', pattern: '^acct_[A-Za-z0-9]+$', maxLength: 255 },
      api_version: { type: 'string', minLength: 1, maxLength: 50 },
      base_url: BASE_URL,
      statement_descriptor: { type: 'string', minLength: 1, maxLength: 22 },
      timeout_seconds: TIMEOUT_SECONDS,
    },
  },
};
