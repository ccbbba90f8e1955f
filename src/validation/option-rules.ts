import { isPlainObject } from './json-rules';
import { rule } from './rule';

/** A function. */
export const Callable = (): PropertyDecorator =>
  rule({ name: 'callable', holds: isFunction, message: 'must be a function' });

/** An AbortSignal, or what is used like one. */
export const Signal = (): PropertyDecorator => HasMethods('an AbortSignal', 'addEventListener', 'throwIfAborted');

/** An object of settings for somebody else. */
export const PlainObject = (): PropertyDecorator =>
  rule({ name: 'plainObject', holds: isPlainObject, message: 'must be a plain object' });

/** An object of somebody else's making, told by what is asked of it. */
export const HasMethods = (what: string, ...methods: string[]): PropertyDecorator =>
  rule({
    name: 'hasMethods',
    constraints: methods,
    holds: (value) => isObject(value) && methods.every((method) => isFunction(value[method])),
    message: `must be ${what}`,
  });

/**
 * An object of functions, each of which may be missing. In a plain object a function of another name is a slip of the pen,
 * and would never be called; an instance of a class may have what it likes beside them.
 */
export const HooksNamed = (...names: string[]): PropertyDecorator =>
  rule({
    name: 'hooks',
    constraints: names,
    holds: (value) =>
      isObject(value) &&
      names.every((name) => value[name] == null || isFunction(value[name])) &&
      (!isPlainObject(value) || Object.keys(value).every((name) => names.includes(name) || !isFunction(value[name]))),
    message: `must be an object of functions named ${names.join(', ')}, and no other`,
  });

const isFunction = (value: unknown): boolean => typeof value === 'function';
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
