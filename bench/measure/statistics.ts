/** The middle of some samples and how far they lie apart. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [below, above] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]];
  if (below === undefined || above === undefined) throw new RangeError('no samples');
  return { median: (below + above) / 2, min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** Round by round, so that what slowed a whole round down cancels out. */
export function ratios(samples: readonly number[], against: readonly number[]): number[] {
  return samples.map((sample, round) => sample / (against[round] as number));
}
