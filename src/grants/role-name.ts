import { ConfigurationError } from '../errors';
import { rule } from '../validation/rule';
import { type Role, ROLES } from './privileges';

/** Roles belong to the server: where it has several payment databases, each may need roles of its own. */
export const DEFAULT_ROLE_PREFIX = 'payment_events';

const isPrefix = (value: unknown): boolean => typeof value === 'string' && /^(?!pg_)[a-z_][a-z0-9_]{0,49}$/.test(value);

const NO_PREFIX = 'must be 1 to 50 lower-case letters, digits and underscores, and not begin with a digit or pg_';

/** What the names of roles may begin with, for an object of options. */
export const RolePrefix = (): PropertyDecorator => rule({ name: 'rolePrefix', holds: isPrefix, message: NO_PREFIX });

/**
 * `payment_events_api`, and so on.
 *
 * @throws ConfigurationError a prefix that would need quotes
 */
export function roleName(role: Role, prefix: string = DEFAULT_ROLE_PREFIX): string {
  if (!isPrefix(prefix)) throw new ConfigurationError(`The prefix of the role names ${NO_PREFIX}.`);
  return `${prefix}_${role}`;
}

export const roleNames = (prefix?: string): string[] => ROLES.map((role) => roleName(role, prefix));
