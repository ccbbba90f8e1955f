import { BASE_URL, type ProcessorDefinition, TIMEOUT_SECONDS } from './processor';

/** Settings of a configuration for Worldpay. */
export interface WorldpaySettings {
  merchant_code: string;
  installation_id?: string;
  /** What the card's statement says. */
  descriptor?: string;
  /** Default: Worldpay's own. */
  base_url?: string;
  timeout_seconds?: number;
}

/** Secrets of a configuration for Worldpay: a user and its password, or a key. */
export interface WorldpaySecrets {
  api_key?: string;
  password?: string;
  username?: string;
}

export const worldpay: ProcessorDefinition = {
  name: 'worldpay',
  secretFields: ['api_key', 'password', 'username'],
  requiredSecretFields: [],
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['merchant_code'],
    properties: {
      base_url: BASE_URL,
      descriptor: { type: 'string', minLength: 1, maxLength: 50 },
      installation_id: { type: 'string', minLength: 1, maxLength: 50 },
      merchant_code: { type: 'string', minLength: 1, maxLength: 50 },
      timeout_seconds: TIMEOUT_SECONDS,
    },
  },
};
