/** So many callers at once, each of which waits for its answer before it asks again. */
export interface ClosedLoop {
  readonly callers: number;
}

/** So many operations a second, begun at random times, whether or not earlier ones have been answered. */
export interface OpenLoop {
  readonly offered: number;
}

export type Load = ClosedLoop | OpenLoop;

export const isOpen = (load: Load): load is OpenLoop => 'offered' in load;

export function describeLoad(load: Load): string {
  if (isOpen(load)) return `${Math.round(load.offered).toLocaleString('en')} a second offered`;
  return `${load.callers.toLocaleString('en')} ${load.callers === 1 ? 'caller' : 'callers'}`;
}
