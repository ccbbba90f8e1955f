import { type Comparison } from '../contestant';
import { authorize } from './authorize/authorize';
import { growth } from './growth';
import { relay } from './relay/relay';
import { worker } from './worker';

/** All that is measured, in this order. */
export const comparisons: readonly Comparison[] = [authorize, worker, growth, relay];
