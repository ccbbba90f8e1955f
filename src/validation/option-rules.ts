import { rule } from './rule';

/** A function. */
export const Callable = (): PropertyDecorator =>
  rule({ name: 'callable', holds: (value) => typeof value === 'function', message: 'must be a function' });
