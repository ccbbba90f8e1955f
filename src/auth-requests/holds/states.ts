/** Where a hold can stand, and what may follow. The guard of the table allows this and nothing else. */
export const HOLD_TRANSITIONS = {
  held: ['voiding', 'voided', 'captured', 'lapsed'],
  voiding: ['void_failed', 'voided', 'captured', 'lapsed'],
  void_failed: ['voiding', 'voided', 'captured', 'lapsed'],
  // What a processor tells counts in this order: captured, voided, lapsed.
  lapsed: ['voided', 'captured'],
  voided: ['captured'],
  captured: [],
} as const;

/**
 * `held`: the processor holds the money. `voiding`: nobody needs it, and a void is on its way. `void_failed`: the processor
 * did not void it, and a person has to see to it. `voided`, `captured`, `lapsed`: how it ended.
 */
export type HoldState = keyof typeof HOLD_TRANSITIONS;

/** Every state of a hold. */
export const HOLD_STATES = Object.keys(HOLD_TRANSITIONS) as HoldState[];

/** How a hold can end, what counts for more first. */
export const HOLD_ENDS = ['captured', 'voided', 'lapsed'] as const;
/** One of {@link HOLD_ENDS}. */
export type HoldEndState = (typeof HOLD_ENDS)[number];
