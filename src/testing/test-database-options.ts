import { IsOptional } from 'class-validator';
import { Callable } from '../validation/option-rules';
import { rule } from '../validation/rule';
import { isText } from '../validation/rules';

/** What to say where there is no URL of a PostgreSQL server. */
export const NO_SERVER_URL = 'must look like postgresql://user:password@host:5432/database';

/** From what a test database is made, and how it is named. */
export class CreateTestDatabaseOptions {
  /** The database to copy, see `createTemplateDatabase`. Default: none, the new one is empty. */
  @IsOptional()
  @Name(63)
  template?: string;

  /** What its name starts with: see `dropTestDatabases`. At most 54 bytes. Default `payment_events_test`. */
  @IsOptional()
  @Name(54)
  prefix?: string;
}

/** What else a template holds. */
export class TemplateOptions {
  /**
   * Called with the address of the template when its migrations have run: to make tables of your own, or rows that every
   * test needs. It closes its connections.
   */
  @IsOptional()
  @Callable()
  prepare?: (url: string) => Promise<unknown>;
}

/** Where to make databases and drop them. */
export class ServerRef {
  @ServerUrl()
  serverUrl: string;
}

/** One database. */
export class DatabaseRef extends ServerRef {
  @Name(63)
  name: string;
}

/** Databases by the beginning of their names: without one, those of everybody would be dropped. */
export class PrefixRef extends ServerRef {
  @Name(54)
  prefix: string;
}

/** PostgreSQL cuts a longer name, and it would be another's. */
function Name(maxBytes: number): PropertyDecorator {
  return rule({
    name: 'name',
    constraints: [maxBytes],
    holds: (value) => isText(value) && value !== '' && Buffer.byteLength(value) <= maxBytes,
    message: `must be text of 1 to ${maxBytes} bytes`,
  });
}

function ServerUrl(): PropertyDecorator {
  return rule({ name: 'serverUrl', holds: isServerUrl, message: NO_SERVER_URL });
}

/** Whether it is the URL of a PostgreSQL server. */
export function isServerUrl(value: unknown): boolean {
  return typeof value === 'string' && /^postgres(ql)?:/.test(value) && URL.canParse(value);
}
