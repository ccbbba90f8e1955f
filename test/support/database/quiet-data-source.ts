import { AbstractLogger } from 'typeorm';
import { type PaymentEventsDataSourceSettings } from '../../../src/connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';

/** Lost connections are no news to a test that cuts them. */
export class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

/** `answerTimeoutMs`: how long a swallowed answer is waited for, which otherwise follows from statementTimeoutMs. */
type Settings = PaymentEventsDataSourceSettings & { answerTimeoutMs?: number };

/** An initialised DataSource that does not log. */
export const quietDataSource = (settings: Settings): Promise<PaymentEventsDataSource> =>
  closedDataSource(settings).initialize();

/** The same, not open yet. */
export function closedDataSource({ answerTimeoutMs, ...settings }: Settings): PaymentEventsDataSource {
  const options = createDataSourceOptions({ logger: new Silence(), ...settings });
  const extra = { ...(options.extra as object), ...(answerTimeoutMs !== undefined && { answerTimeoutMs }) };
  return new PaymentEventsDataSource({ ...options, extra });
}
