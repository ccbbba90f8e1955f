import { randomFillSync } from 'node:crypto';

const BYTES = 16;
/** For so many ids at a time: asking the system for each one's bytes takes longer than all else about it. */
const ahead = Buffer.alloc(256 * BYTES);
let used = ahead.length;

/**
 * A new UUIDv7 (RFC 9562, 5.7): 48 bits of time in milliseconds and 74 random ones, so that those of about the same time lie
 * side by side in an index.
 */
export function newId(): string {
  if (used === ahead.length) {
    randomFillSync(ahead);
    used = 0;
  }
  const id = ahead.subarray(used, (used += BYTES));
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = 0x70 | (id[6]! & 0x0f);
  id[8] = 0x80 | (id[8]! & 0x3f);
  const hex = id.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
