import { Validator, type Schema } from '@cfworker/json-schema';
import { text } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';

/** What a processor's configurations are made of: its row. */
interface ProcessorRules {
  settings_schema: Schema;
  secret_fields: string[];
  required_secret_fields: string[];
}

/** What is to be checked. */
interface Content {
  readonly processorName: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, unknown>>;
}

const READ_RULES = operation({
  name: 'read_processor_rules',
  input: { processor_name: text },
  output: rowsOf<ProcessorRules>(),
  sql: `SELECT settings_schema, secret_fields, required_secret_fields FROM processors JOIN input USING (processor_name)`,
});

export const readRules = async (session: Session, processorName: string): Promise<ProcessorRules | undefined> =>
  await session.row(READ_RULES, { processor_name: processorName });

/** What is wrong with it, by the names of fields, never their values. An unknown name may itself be a value that has slipped. */
export function problemsOf({ processorName, settings, secrets }: Content, rules: ProcessorRules | undefined): string[] {
  if (!rules) return ['processorName must be a row of the table processors'];
  const { settings_schema: schema, secret_fields: known, required_secret_fields: required } = rules;
  const among = Object.keys(settings).filter((name) => known.includes(name));
  const unknown = Object.keys(secrets).filter((name) => !known.includes(name)).length;
  const missing = required.filter((name) => !Object.hasOwn(secrets, name));
  return [
    ...among.map((name) => `${name} is a secret of ${processorName}: it belongs among the secrets, not the settings`),
    ...(unknown > 0 ? [`secrets has ${fields(unknown)} that ${processorName} has not: it has ${listed(known)}`] : []),
    ...missing.map((name) => `secrets.${name} must be there`),
    ...(among.length > 0 ? [] : problemsOfSettings(settings, schema)),
  ];
}

/** The validator's own messages may quote values: the place and the rule that is broken there are enough. */
function problemsOfSettings(settings: Readonly<Record<string, unknown>>, schema: Schema): string[] {
  const known = Object.keys(schema.properties ?? {});
  const unknown = Object.keys(settings).filter((name) => !known.includes(name)).length;
  if (unknown > 0) return [`settings has ${fields(unknown)} that the processor has not: it has ${listed(known)}`];
  const { errors } = new Validator(schema, '2020-12', false).validate(settings);
  const innermost = errors.filter(
    ({ instanceLocation }) => !errors.some((other) => other.instanceLocation.startsWith(`${instanceLocation}/`)),
  );
  const problems = innermost.map(
    ({ instanceLocation, keyword }) => `${placeOf(instanceLocation)} breaks the rule ${keyword}`,
  );
  return [...new Set(problems)];
}

const placeOf = (pointer: string) => ['settings', ...pointer.split('/').slice(1).map(shown)].join('.');

/** Names that people give to fields, and places in lists; deeper ones may be unknown. */
const shown = (name: string) => (/^[a-z][a-z0-9_-]{0,29}$|^[0-9]{1,3}$/i.test(name) ? name : '(…)');

const fields = (count: number) => (count === 1 ? 'a field' : `${count} fields`);

const listed = (names: readonly string[]) => (names.length > 0 ? names.join(', ') : 'none');
