import { readdirSync, readFileSync } from 'node:fs';

/** Linux tells times in hundredths of a second, whatever its kernel counts in. */
const MICROS_PER_TICK = 10_000;

/** CPU time that a server's postmaster and all that it has started have used, in microseconds. Undefined but on Linux. */
export function serverMicros(postmaster: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    const stat = Number(entry) > 0 ? readStat(entry) : undefined;
    if (stat && (stat.pid === postmaster || stat.parent === postmaster)) ticks += stat.ticks;
  }
  return ticks * MICROS_PER_TICK;
}

/** proc(5): fields 14 to 17 are the times of a process, and those of its children that have ended. */
function readStat(pid: string): { pid: number; parent: number; ticks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may hold anything.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    return { pid: Number(pid), parent: fields[1]!, ticks: fields[11]! + fields[12]! + fields[13]! + fields[14]! };
  } catch {
    return undefined; // It has ended meanwhile.
  }
}
