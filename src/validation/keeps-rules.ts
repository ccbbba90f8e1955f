import { getMetadataStorage, ValidationTypes } from 'class-validator';

const storage = getMetadataStorage();
type Rule = ReturnType<typeof storage.getTargetValidationMetadatas>[number];
type Check = (object: object, value: unknown) => boolean;

/** What class-validator has been told about one property of a class. */
export interface PropertyRules {
  readonly property: string;
  /** `IsOptional` and the like: where one of them does not hold, the others do not count. */
  readonly conditions: readonly Check[];
  readonly checks: readonly Check[];
}

/**
 * Whether an object keeps the rules on a class, as class-validator would find. For each object that gathers them again
 * out of the rules on all classes of the process, which takes longer than checking them. Here it is done once a class.
 *
 * False, too, where a rule is of a kind that is not known here, or there is none: class-validator is to say why.
 */
export function keepsRules(Class: new () => object, object: object): boolean {
  const properties = rulesOf(Class);
  for (const rules of properties) if (!keeps(rules, object)) return false;
  return properties.length > 0;
}

/** The properties of an object whose rules it does not keep. */
export function brokenProperties(Class: new () => object, object: object): string[] {
  return rulesOf(Class).flatMap((rules) => (keeps(rules, object) ? [] : rules.property));
}

function keeps({ property, conditions, checks }: PropertyRules, object: object): boolean {
  const value = (object as Record<string, unknown>)[property];
  return !allHold(conditions, object, value) || allHold(checks, object, value);
}

function allHold(checks: readonly Check[], object: object, value: unknown): boolean {
  for (const holds of checks) if (!holds(object, value)) return false;
  return true;
}

const known = new WeakMap<object, readonly PropertyRules[]>();

/** The properties of a class that have rules. */
export function rulesOf(Class: new () => object): readonly PropertyRules[] {
  let properties = known.get(Class);
  if (!properties) {
    const rules = storage.getTargetValidationMetadatas(Class, '', false, false);
    properties = Object.entries(storage.groupByPropertyName(rules)).map(([property, ofProperty]) => ({
      property,
      conditions: ofProperty.filter(isCondition).map(({ constraints }) => constraints[0] as Check),
      checks: ofProperty.filter((rule) => !isCondition(rule)).flatMap(toChecks),
    }));
    known.set(Class, properties);
  }
  return properties;
}

const isCondition = ({ type }: Rule) => type === ValidationTypes.CONDITIONAL_VALIDATION;

const UNKNOWN: Check = () => false;

function toChecks({ type, constraintCls, constraints, propertyName: property, each, validateIf }: Rule): Check[] {
  if (type !== ValidationTypes.CUSTOM_VALIDATION || validateIf) return [UNKNOWN];
  return storage.getTargetValidatorConstraints(constraintCls).map(({ instance }) => (object, value) => {
    const args = { targetName: object.constructor.name, property, object, value, constraints };
    // The promise of a rule that answers later is not `true`.
    if (!each) return instance.validate(value, args) === true;
    return Array.isArray(value) && value.every((item) => instance.validate(item, args) === true);
  });
}
