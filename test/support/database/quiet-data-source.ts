import { AbstractLogger } from 'typeorm';
import { type PaymentEventsDataSourceSettings } from '../../../src/connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';

/** Lost connections are no news to a test that cuts them. */
class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

/**
 * An initialised DataSource that does not log.
 *
 * @param answerTimeoutMs how long a swallowed answer is waited for, which otherwise follows from statementTimeoutMs
 */
export async function quietDataSource({
  answerTimeoutMs,
  ...settings
}: PaymentEventsDataSourceSettings & { answerTimeoutMs?: number }): Promise<PaymentEventsDataSource> {
  const options = createDataSourceOptions({ logger: new Silence(), ...settings });
  const extra = { ...(options.extra as object), ...(answerTimeoutMs !== undefined && { answerTimeoutMs }) };
  return new PaymentEventsDataSource({ ...options, extra }).initialize();
}
