/**
 * What work comes to; what `late` gives or throws instead where it takes longer than that. The work itself goes on, and what it
 * comes to then is nobody's concern. The wait does not keep the process from ending.
 */
export async function inTime<T>(work: Promise<T>, ms: number, late: () => T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<void>((resolve) => (timer = setTimeout(resolve, Math.max(0, ms)).unref())).then(late);
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}
