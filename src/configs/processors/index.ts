import { chase } from './chase';
import { mock } from './mock';
import { type ProcessorDefinition } from './processor';
import { stripe } from './stripe';
import { worldpay } from './worldpay';

/**
 * The processors that the migrations put into the table `processors`. Others are rows that you insert there.
 *
 * The table decides: it may have been changed since.
 */
export const BUILT_IN_PROCESSORS: readonly ProcessorDefinition[] = [stripe, chase, worldpay, mock];
