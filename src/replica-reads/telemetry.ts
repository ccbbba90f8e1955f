import { orNothing, ourMeter } from '../database/telemetry';
import { type Answer } from './replica';

/** Which server has answered. */
export type ReadFrom = 'replica' | 'primary';

/** Counts a read by the server that answers it. */
export function countRead(operation: 'get' | 'list', { reason, error }: Answer<unknown>): void {
  orNothing(() => {
    const from: ReadFrom = reason === undefined ? 'replica' : 'primary';
    ourMeter()
      .createCounter('payment_events_db.replica_reads', { unit: '{read}' })
      .add(1, {
        'payment_events_db.operation': operation,
        'payment_events_db.from': from,
        ...(reason && { 'payment_events_db.reason': reason }),
        ...(error instanceof Error && { 'error.type': error.name }),
      });
  });
}
