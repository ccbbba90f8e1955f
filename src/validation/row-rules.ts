import { ValidateIf, type ValidationArguments } from 'class-validator';
import { rule } from './rule';

/** The database fills it in where it is not given. Null is a value like any other. */
export const HasDefault = (): PropertyDecorator => ValidateIf((_row, value) => value !== undefined);

/** The number is at most the one in another property of the same object. */
export const NotMoreThan = (property: string): PropertyDecorator =>
  rule({
    name: 'notMoreThan',
    constraints: [property],
    holds: (value, args) => Number(value) <= Number(otherValue(args, property)),
    message: `must not be more than ${property}`,
  });

/** The date is later than the one in another property of the same object, where that one is given. */
export const LaterThan = (property: string): PropertyDecorator =>
  rule({
    name: 'laterThan',
    constraints: [property],
    holds: (value, args) => {
      const other = otherValue(args, property);
      return !(other instanceof Date) || (value instanceof Date && value > other);
    },
    message: `must be later than ${property}`,
  });

/** Bytes, so many of them: from `min` to `max`, which is `min` where it is not given. */
export const ByteLength = (min: number, max = min): PropertyDecorator =>
  rule({
    name: 'byteLength',
    constraints: [min, max],
    holds: (value) => value instanceof Uint8Array && value.length >= min && value.length <= max,
    message: min === max ? `must be ${min} bytes` : `must be ${min} to ${max} bytes`,
  });

/** What another property of the same object holds. */
export function otherValue(args: ValidationArguments | undefined, property: string): unknown {
  return (args?.object as Record<string, unknown>)[property];
}
