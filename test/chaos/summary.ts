import { type Mayhem } from './mayhem';
import { type World } from './world';

/** Whether it was as rough as it was meant to be. */
export function summary({ journal, queues }: World, { done, cuts }: Mayhem): string {
  const counts = new Map<string, number>();
  for (const entry of journal) {
    const what =
      'did' in entry ? `${entry.did} ${'how' in entry ? entry.how : ''}` : 'met' in entry ? entry.met : 'fault';
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const told = [...counts].map(([what, count]) => `${what.trim()}: ${count}`).join(', ');
  return `${done.join('\n')}\n${told}, cuts: ${cuts}, messages at the queues: ${queues.arrivals.length}\n`;
}
