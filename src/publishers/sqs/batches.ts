/** Of one request, by the API reference of SQS. */
const MAX_ENTRIES = 10;

/** Cuts messages into batches without changing their order. */
export function* batches<T extends { readonly bytes: number }>(
  messages: readonly T[],
  maxBytes: number,
): Generator<T[]> {
  let batch: T[] = [];
  let bytes = 0;
  for (const message of messages) {
    if (batch.length === MAX_ENTRIES || (batch.length > 0 && bytes + message.bytes > maxBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(message);
    bytes += message.bytes;
  }
  if (batch.length > 0) yield batch;
}
