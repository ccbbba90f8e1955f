/** JSON Schema of an object, as draft 2020-12 has it. */
export interface SettingsSchema {
  readonly type: 'object';
  /** Unknown settings are refused. */
  readonly additionalProperties: false;
  /** By the name of the setting. */
  readonly properties: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Settings that have to be there. */
  readonly required?: readonly string[];
}

/** What a row of `processors` says: which secrets a processor's client needs, and which settings it knows. */
export interface ProcessorDefinition {
  /** As versions of configurations name it: lower-case letters, digits and underscores. */
  readonly name: string;
  /** Never among the settings. */
  readonly secretFields: readonly string[];
  /** Those that a new version has to have. */
  readonly requiredSecretFields: readonly string[];
  readonly settingsSchema: SettingsSchema;
}

/** Where another server than the processor's own answers: never unencrypted, but on this machine, as in a test; never with a password. */
export const BASE_URL = {
  type: 'string',
  pattern: '^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/|$)',
  maxLength: 2048,
} as const;

/** How long to wait for an answer, in seconds. */
export const TIMEOUT_SECONDS = { type: 'number', exclusiveMinimum: 0, maximum: 600 } as const;
