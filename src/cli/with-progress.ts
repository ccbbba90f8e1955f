import pc from 'picocolors';

const INTERVAL_MS = 2_000;

/** Says on standard error how far work is, while it takes long. */
export async function withProgress<T>(say: () => string, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => console.error(pc.dim(`${say()} so far …`)), INTERVAL_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
