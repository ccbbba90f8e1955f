import { metrics } from '@opentelemetry/api';
import { type GivenUpRequest, type GivenUpVoid, type SweepResult } from './sweep-result';

const NAME = 'payment-events-db';

/** Counts what a turn has done. It was done, whatever telemetry throws. */
export function countSweep({ voiding, stuck, unsettled, expiry, keys, leases, messages }: SweepResult): void {
  quietly(() => {
    const meter = metrics.getMeter(NAME);
    const sent = meter.createCounter('payment_events_db.sweeper.sent', { unit: '{message}' });
    const ended = meter.createCounter('payment_events_db.sweeper.ended', { unit: '{row}' });
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
  quietly(() => {
    const counter = metrics.getMeter(NAME).createCounter('payment_events_db.sweeper.given_up', { unit: '{row}' });
    counter.add(1, { kind: 'processorAuthId' in given ? 'void' : 'request', reason: given.reason });
  });
}

function quietly(count: () => void): void {
  try {
    count();
  } catch {
    // Nobody is the worse for it.
  }
}
