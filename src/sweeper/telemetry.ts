import { orNothing, ourMeter } from '../database/telemetry';
import { type GivenUpRequest, type GivenUpVoid, type SweepResult } from './sweep-result';

/** Counts what a turn has done. It was done, whatever telemetry throws. */
export function countSweep({ voiding, stuck, unsettled, expiry, keys, leases, messages }: SweepResult): void {
  orNothing(() => {
    const sent = ourMeter().createCounter('payment_events_db.sweeper.sent', { unit: '{message}' });
    const ended = ourMeter().createCounter('payment_events_db.sweeper.ended', { unit: '{row}' });
    for (const [kind, sending] of Object.entries({ voiding, stuck, unsettled })) {
      if (sending && sending.sent.length > 0) sent.add(sending.sent.length, { kind });
    }
    for (const [kind, count] of Object.entries({ expiry: expiry?.length, keys, leases, messages })) {
      if (count) ended.add(count, { kind });
    }
  });
}

/** Counts what was given up, each once. */
export function countGivenUp(given: GivenUpVoid | GivenUpRequest): void {
  orNothing(() => {
    const counter = ourMeter().createCounter('payment_events_db.sweeper.given_up', { unit: '{row}' });
    counter.add(1, { kind: 'processorAuthId' in given ? 'void' : 'request', reason: given.reason });
  });
}
