import { ValidateBy, ValidateIf, type ValidationArguments, type ValidationOptions } from 'class-validator';

/** The database fills it in where it is not given. Null is a value like any other. */
export const HasDefault = (): PropertyDecorator => ValidateIf((_row, value) => value !== undefined);

/** The number is at most the one in another property of the same object. */
export const NotMoreThan = (property: string, options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'notMoreThan',
      constraints: [property],
      validator: {
        validate: (value, args) => Number(value) <= Number(otherValue(args, property)),
        defaultMessage: () => `$property must not be more than ${property}`,
      },
    },
    options,
  );

/** The date is later than the one in another property of the same object, where that one is given. */
export const LaterThan = (property: string, options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'laterThan',
      constraints: [property],
      validator: {
        validate: (value, args) => {
          const other = otherValue(args, property);
          return !(other instanceof Date) || (value instanceof Date && value > other);
        },
        defaultMessage: () => `$property must be later than ${property}`,
      },
    },
    options,
  );

/** Bytes, so many of them. */
export const ByteLength = (length: number, options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'byteLength',
      constraints: [length],
      validator: {
        validate: (value) => value instanceof Uint8Array && value.length === length,
        defaultMessage: () => `$property must be ${length} bytes`,
      },
    },
    options,
  );

function otherValue(args: ValidationArguments | undefined, property: string): unknown {
  return (args?.object as Record<string, unknown>)[property];
}
