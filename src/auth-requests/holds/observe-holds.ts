import { type BatchObservableCallback } from '@opentelemetry/api';
import { ourMeter } from '../../database/telemetry';
import { HasMethods } from '../../validation/option-rules';
import { validateSettings } from '../../validation/validate-options';
import { type Holds } from './holds';
import { FOR_A_PERSON } from './standing';

class ObservedHolds {
  @HasMethods('Holds', 'stats')
  holds: Holds;
}

/**
 * Registers gauges of the holds that may still stand with OpenTelemetry: their number and amount by state, reason and
 * currency, the age of the oldest that should be gone, in seconds, how many wait for a person, and how many needed ones lapse
 * within 24 hours. Needed holds are counted to 100,000. Each export costs one query, and a short one of the fence. Once a database is enough: in one
 * process, or behind a leader.
 *
 * @returns a function that takes them off again
 * @throws ConfigurationError it is no Holds
 *
 * @example
 * const unobserve = observeHolds(new Holds(dataSource));
 */
export function observeHolds(holds: Holds): () => void {
  validateSettings({ ObservedHolds }, { holds });
  const meter = ourMeter();
  const count = meter.createObservableGauge('payment_events_db.holds.count', { unit: '{hold}' });
  const amount = meter.createObservableGauge('payment_events_db.holds.amount', { unit: '{minor_unit}' });
  const age = meter.createObservableGauge('payment_events_db.holds.oldest_open_age', { unit: 's' });
  const waiting = meter.createObservableGauge('payment_events_db.holds.waiting_for_person', { unit: '{hold}' });
  const lapsing = meter.createObservableGauge('payment_events_db.holds.lapsing', { unit: '{hold}' });
  const gauges = [count, amount, age, waiting, lapsing];
  const observe: BatchObservableCallback = async (result) => {
    const stats = await holds.stats();
    for (const { state, because, currency, count: number, amountCents } of stats.totals) {
      const attributes = {
        'payment_events_db.hold.state': state,
        'payment_events_db.hold.reason': because,
        'payment_events_db.hold.currency': currency,
      };
      result.observe(count, number, attributes);
      result.observe(amount, amountCents, attributes);
    }
    result.observe(age, (stats.oldestOpenAgeMs ?? 0) / 1_000);
    // Zeros as well, so that an alert can tell "none" from "nobody looks".
    for (const reason of FOR_A_PERSON) {
      result.observe(waiting, stats.forAPerson[reason], { 'payment_events_db.hold.reason': reason });
    }
    result.observe(lapsing, stats.lapsing);
  };
  meter.addBatchObservableCallback(observe, gauges);
  return () => meter.removeBatchObservableCallback(observe, gauges);
}
