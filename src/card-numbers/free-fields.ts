/**
 * How a field that may hold a card number is treated. `masked`: as free text. `kept`: it is looked at, but never changed,
 * since a later call or a repeat needs it as it is.
 */
export type Treatment = 'masked' | 'kept';

const declared = new WeakMap<object, Map<string, Treatment>>();

/**
 * A property of a command in which a caller may write what it likes: text, JSON, a payload. What looks like a card number in
 * it is seen to: see `screenNew` and `screenReport`.
 */
export const FreeText = (): PropertyDecorator => declare('masked');

/** The same for an id that the caller chooses: it is never changed. */
export const FreeId = (): PropertyDecorator => declare('kept');

const declare =
  (treatment: Treatment): PropertyDecorator =>
  (prototype, property) => {
    const own = declared.get(prototype) ?? new Map<string, Treatment>();
    declared.set(prototype, own.set(String(property), treatment));
  };

const known = new WeakMap<object, readonly (readonly [string, Treatment])[]>();

/** The free fields of a command, those of the classes that it extends included. */
export function freeFieldsOf(command: object): readonly (readonly [property: string, treatment: Treatment])[] {
  const prototype = Object.getPrototypeOf(command) as object;
  let fields = known.get(prototype);
  if (!fields) {
    const found = new Map<string, Treatment>();
    for (let each: object | null = prototype; each; each = Object.getPrototypeOf(each) as object | null) {
      for (const [property, treatment] of declared.get(each) ?? [])
        if (!found.has(property)) found.set(property, treatment);
    }
    known.set(prototype, (fields = [...found]));
  }
  return fields;
}
