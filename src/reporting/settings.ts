import { IsOptional } from 'class-validator';
import { DatabaseUrl, RoleName } from '../connection/connection-rules';
import { type PaymentEventsDataSourceSettings } from '../connection/data-source-settings';
import { RolePrefix } from '../grants/role-name';
import { type Say } from '../migrator/migration-lock';
import { Callable, PlainObject } from '../validation/option-rules';
import { Text } from '../validation/rules';

/** Where the reporting database is. */
export class ReportingPlace {
  /**
   * Of the reporting database, a database of its own. Its user is the owner of it, and a superuser the first time, for
   * CREATE EXTENSION. The servers of the map must be reachable from its server under the hosts that the map names.
   */
  @DatabaseUrl()
  url: string;

  /** What the names of the roles begin with. Default `payment_events`: `payment_events_reporting`. */
  @IsOptional()
  @RolePrefix()
  rolePrefix?: string;

  /** For connections to the databases of the map: `schema` and the like. */
  @IsOptional()
  @PlainObject()
  dataSource?: Omit<PaymentEventsDataSourceSettings, 'url'>;

  /** Is told when it waits for another process that migrates a database. Default: the logger. */
  @IsOptional()
  @Callable()
  say?: Say;
}

/** And as whom it reads the others. */
export class ReportingSettings extends ReportingPlace {
  /** The login, a member of the role for reports at every database of the map, that the reporting database reads as. */
  @RoleName()
  reader: string;

  /** Of the reader. Kept in the user mappings, where the owner of the servers alone can read it: postgres_fdw asks for one. */
  @Text(1, 1_000)
  readerPassword: string;
}
