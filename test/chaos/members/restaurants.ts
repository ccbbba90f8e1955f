import { remainderOf } from '../../../src/fence/residue';

/** Two of each class of four. */
const PER_CLASS = 2;
const CLASSES = 4;

/** Who asks for authorizations. */
export const RESTAURANTS = Array.from({ length: CLASSES }, (_, remainder) => {
  const ids = Array.from({ length: 256 }, (_, index) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`);
  return ids.filter((id) => remainderOf(id, CLASSES) === remainder).slice(0, PER_CLASS);
}).flat();

/** Its processor forgets a key so soon that nobody may ask again: what is left open is for a person. */
const FORGETFUL = RESTAURANTS[0]!;
const FORGETFUL_MS = 4_000;
const DAY_MS = 86_400_000;

export const settleWithinMs = (restaurantId: string): number => (restaurantId === FORGETFUL ? FORGETFUL_MS : DAY_MS);
export const SETTLE_WITHIN = [FORGETFUL_MS, DAY_MS] as const;
