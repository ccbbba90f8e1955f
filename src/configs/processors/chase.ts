import { BASE_URL, type ProcessorDefinition, TIMEOUT_SECONDS } from './processor';

/** Settings of a configuration for Chase. */
export interface ChaseSettings {
  merchant_id: string;
  terminal?: { id: string; mode?: string };
  /** Default: Chase's own. */
  base_url?: string;
  timeout_seconds?: number;
}

/** Secrets of a configuration for Chase: a user and its password, or a key. */
export interface ChaseSecrets {
  api_key?: string;
  password?: string;
  username?: string;
}

export const chase: ProcessorDefinition = {
  name: 'chase',
  secretFields: ['api_key', 'password', 'username'],
  requiredSecretFields: [],
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['merchant_id'],
    properties: {
      base_url: BASE_URL,
      merchant_id: { type: 'string', minLength: 1, maxLength: 50 },
      terminal: {
        type: 'object',
        additionalProperties: false,
        required: ['id'],
        properties: {
          id: { type: 'string', minLength: 1, maxLength: 50 },
          mode: { type: 'string', minLength: 1, maxLength: 50 },
        },
      },
      timeout_seconds: TIMEOUT_SECONDS,
    },
  },
};
