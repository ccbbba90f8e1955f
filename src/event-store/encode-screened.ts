import { type DataSource } from 'typeorm';
import { maskValue } from '../card-numbers/in-value';
import { tellMasked } from '../card-numbers/screen';
import { encodeEvent } from './event-codec';
import { type NewEvent } from './event-store';

/** Fields of events in which anything may stand, also within `result`. The others are ids, names, amounts and times. */
export const FREE_FIELDS: readonly string[] = [
  'reason',
  'by',
  'errorCode',
  'errorMessage',
  'denialCode',
  'denialReason',
  'authorizationCode',
  'metadata',
  'processorMetadata',
];

/**
 * Encodes events of a caller's own. They tell what has happened, so that what looks like a card number in their free fields
 * is masked, as in commands that report: the same events again are encoded as the same bytes.
 *
 * @throws UnencodableMessageError
 */
export function encodeScreened(dataSource: DataSource, events: readonly NewEvent[]): Uint8Array[] {
  const found: string[] = [];
  const encoded = events.map((event, index) => {
    // First as it is: only what can be encoded can be walked.
    const bytes = encodeEvent(event);
    const paths: string[] = [];
    const data = maskFields(event.data, `events[${index}].data`, paths);
    found.push(...paths);
    return paths.length === 0 ? bytes : encodeEvent({ ...event, data } as NewEvent);
  });
  tellMasked(dataSource, 'append', found);
  return encoded;
}

function maskFields(data: object, path: string, found: string[]): object {
  const masked: Record<string, unknown> = { ...data };
  for (const name of FREE_FIELDS) {
    if (masked[name] === undefined) continue;
    const { value, paths } = maskValue(masked[name], `${path}.${name}`);
    masked[name] = value;
    found.push(...paths);
  }
  const { result } = masked;
  if (typeof result === 'object' && result !== null) masked.result = maskFields(result, `${path}.result`, found);
  return masked;
}
