import { type DataSource } from 'typeorm';
import { settingsOf } from '../database/settings';
import { orNothing, ourMeter } from '../database/telemetry';
import { InvalidCommandError } from '../errors';
import { freeFieldsOf } from './free-fields';
import { holdsCardNumber, maskValue } from './in-value';

/**
 * What to do about what looks like a card number in a command that begins something. `report` logs and counts it, and
 * records it as it is; `mask` records its first six digits and its last four; `refuse` refuses the command.
 */
export type CardNumbers = 'report' | 'mask' | 'refuse';

/** A command, and where card numbers were: in fields that are masked, and in ids that are not. */
interface Screened<T> {
  readonly masked: T;
  readonly maskedPaths: readonly string[];
  readonly keptPaths: readonly string[];
}

/**
 * A command that begins something, such as `authorize`: what looks like a card number in its free fields is reported, masked
 * or refused, as `cardNumbers` of the DataSource's settings says. Ids are never changed: where the setting is `mask`, one is
 * reported. Give it the command as `validateCommand` has it, and use what it returns.
 *
 * @param operation its name, for log and metric
 * @param named the command, under the name of its class
 * @throws InvalidCommandError naming each path, never what is there
 */
export function screenNew<T extends object>(
  dataSource: DataSource,
  operation: string,
  named: Readonly<Record<string, T>>,
): T {
  const [[name, command]] = Object.entries(named) as [[string, T]];
  const screened = screen(command);
  if (!screened) return command;
  const { masked, maskedPaths, keptPaths } = screened;
  const action = settingsOf(dataSource).cardNumbers ?? 'report';
  if (action === 'mask') {
    tell(dataSource, operation, 'mask', maskedPaths);
    tell(dataSource, operation, 'report', keptPaths);
    return masked;
  }
  const paths = [...maskedPaths, ...keptPaths];
  if (action === 'report') {
    tell(dataSource, operation, 'report', paths);
    return command;
  }
  count(operation, 'refuse', paths.length);
  throw new InvalidCommandError(name, [`${told(paths)}; leave it out`]);
}

/**
 * A command that tells what has happened, or takes something back: a worker's, a webhook's, a person's. What looks like a
 * card number in its free fields is masked, whatever the setting, and nothing is refused: the processor has acted already.
 * The same command again is masked in the same way, and so it is the same again.
 *
 * @param operation its name, for log and metric
 */
export function screenReport<T extends object>(dataSource: DataSource, operation: string, command: T): T {
  const screened = screen(command);
  if (!screened) return command;
  tell(dataSource, operation, 'mask', screened.maskedPaths);
  tell(dataSource, operation, 'report', screened.keptPaths);
  return screened.masked;
}

/** A command as it is when masked: itself where there is nothing to mask. */
export const maskCommand = <T extends object>(command: T): T => screen(command)?.masked ?? command;

function screen<T extends object>(command: T): Screened<T> | undefined {
  const fields = freeFieldsOf(command);
  const values = command as Record<string, unknown>;
  let changes: Record<string, unknown> | undefined;
  const maskedPaths: string[] = [];
  const keptPaths: string[] = [];
  for (const [property, treatment] of fields) {
    const given = values[property];
    if (given === undefined || !holdsCardNumber(given)) continue;
    const { value, paths } = maskValue(given, property);
    (treatment === 'kept' ? keptPaths : maskedPaths).push(...paths);
    changes = { ...changes, ...(treatment === 'masked' && { [property]: value }) };
  }
  if (!changes) return undefined;
  const copy = Object.create(Object.getPrototypeOf(command) as object) as T;
  return { masked: Object.assign(copy, command, changes), maskedPaths, keptPaths };
}

/** Log and metric of what was masked otherwise than by {@link screenReport}. */
export const tellMasked = (dataSource: DataSource, operation: string, paths: readonly string[]): void =>
  tell(dataSource, operation, 'mask', paths);

const DONE = { report: 'recorded as it is', mask: 'masked' } as const;

/** The log is told where, the metric how many; neither what. */
function tell(dataSource: DataSource, operation: string, action: 'report' | 'mask', paths: readonly string[]): void {
  if (paths.length === 0) return;
  count(operation, action, paths.length);
  // What is recorded does not depend on it.
  orNothing(() => void dataSource.logger.log('warn', `${operation}: ${told(paths)}; ${DONE[action]}`));
}

/** So many paths a message names. */
const MOST_PATHS = 10;

function told(paths: readonly string[]): string {
  const named = paths.slice(0, MOST_PATHS).join(', ');
  const more = paths.length - MOST_PATHS;
  return `what looks like a card number is in ${named}${more > 0 ? ` and ${more} more` : ''}`;
}

function count(operation: string, action: CardNumbers, found: number): void {
  orNothing(() => {
    const counter = ourMeter().createCounter('payment_events_db.card_numbers', { unit: '{card_number}' });
    counter.add(found, { 'payment_events_db.operation': operation, 'payment_events_db.action': action });
  });
}
