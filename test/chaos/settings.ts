import { randomBytes } from 'node:crypto';

/** For how long harm is done. What follows, and what goes before, takes as long as it takes. */
export const SECONDS = Number(process.env.CHAOS_SECONDS ?? 60);
/** `CHAOS_SEED=… npm run test:chaos` makes the same decisions in each process; what they meet depends on time. */
export const SEED = process.env.CHAOS_SEED ?? randomBytes(4).toString('hex');
