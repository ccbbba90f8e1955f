import { BASE_URL, type ProcessorDefinition } from './processor';

/** Settings of a configuration for `mock`, which stands for a processor in tests. */
export interface MockSettings {
  base_url?: string;
  /** How long it takes to answer, in milliseconds. */
  delay_ms?: number;
  statement_descriptor?: string;
}

/** Secrets of a configuration for `mock`. */
export interface MockSecrets {
  api_key?: string;
}

export const mock: ProcessorDefinition = {
  name: 'mock',
  secretFields: ['api_key'],
  requiredSecretFields: [],
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      base_url: BASE_URL,
      delay_ms: { type: 'integer', minimum: 0, maximum: 600_000 },
      statement_descriptor: { type: 'string', minLength: 1, maxLength: 22 },
    },
  },
};
