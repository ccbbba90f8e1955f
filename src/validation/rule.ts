import { buildMessage, ValidateBy, type ValidationArguments, type ValidationOptions } from 'class-validator';

/** What a rule is made of. */
export interface RuleDefinition {
  readonly name: string;
  readonly constraints?: unknown[];
  /** What throws while it looks, such as a getter, does not keep the rule. */
  readonly holds: (value: unknown, args: ValidationArguments | undefined) => boolean;
  /** What comes after the property's name: `must be …`. */
  readonly message: string;
}

/** A decorator for a property, as class-validator has them. */
export function rule({ name, constraints, holds, message }: RuleDefinition, options?: ValidationOptions) {
  const validate = (value: unknown, args?: ValidationArguments) => {
    try {
      return holds(value, args);
    } catch {
      return false;
    }
  };
  const defaultMessage = buildMessage((each) => `${each}$property ${message}`, options);
  return ValidateBy({ name, constraints: constraints ?? [], validator: { validate, defaultMessage } }, options);
}
