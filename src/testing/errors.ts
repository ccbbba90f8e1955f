import { PaymentEventsDbError } from '../errors';

/** Something else listens on the port asked for. */
export class PortTakenError extends PaymentEventsDbError {
  readonly code = 'PORT_TAKEN';

  constructor(readonly port: number) {
    super(`Port ${port} is taken by another program. Stop that program, or choose another port.`);
  }
}

/** A server already runs on this data folder. Starting a second one would destroy it, so nothing was done. */
export class DataDirectoryInUseError extends PaymentEventsDbError {
  readonly code = 'DATA_DIRECTORY_IN_USE';

  constructor(
    dataDirectory: string,
    readonly pid: number,
    readonly port: number,
  ) {
    super(
      `PostgreSQL already runs on ${dataDirectory} (process ${pid}, port ${port}). Use that one, or stop it first.`,
    );
  }
}

/** The folder cannot be used as a data folder; the message says why and what to do. Nothing in it was changed. */
export class DataDirectoryError extends PaymentEventsDbError {
  readonly code = 'DATA_DIRECTORY';
}

/** The PostgreSQL programs are missing or do not run on this machine. */
export class BinariesError extends PaymentEventsDbError {
  readonly code = 'BINARIES';
}

/** PostgreSQL did not come up, or did not go down. The message ends with what its log says. */
export class ServerProcessError extends PaymentEventsDbError {
  readonly code = 'SERVER_PROCESS';
}

/** A test waited for a message that no relay has published in time. */
export class MessageNotPublishedError extends PaymentEventsDbError {
  readonly code = 'MESSAGE_NOT_PUBLISHED';

  constructor(
    readonly messageType: string,
    /** The types of what was published, in its order. */
    readonly published: readonly string[],
  ) {
    super(
      `No ${messageType} was published in time${published.length > 0 ? `, only ${published.join(', ')}` : ', nor anything else'}. ` +
        'Let a relay run: new OutboxRelay(dataSource, publisher).start(), or deliverDue(dataSource, publisher).',
    );
  }
}

/** The migrated template of a test run could not be made, so that there is nothing to copy. */
export class TemplateError extends PaymentEventsDbError {
  readonly code = 'TEMPLATE';

  constructor(reason: string) {
    super(`The migrated template could not be made: ${reason}`);
  }
}
