import { type Comparison } from '../contestant';
import { authorize } from './authorize/authorize';
import { cardNumbers } from './card-numbers';
import { checks } from './checks';
import { enqueue } from './enqueue';
import { fence } from './fence';
import { growth } from './growth';
import { openLoop } from './open-loop';
import { relay } from './relay/relay';
import { wait } from './wait';
import { worker } from './worker';

/** All that is measured, in this order. */
export const comparisons: readonly Comparison[] = [
  authorize,
  openLoop,
  worker,
  wait,
  growth,
  enqueue,
  relay,
  checks,
  cardNumbers,
  fence,
];
