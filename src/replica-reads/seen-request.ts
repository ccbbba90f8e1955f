import { rule } from '../validation/rule';
import { isUuid, LARGEST_INTEGER } from '../validation/rules';

/** A request and how far somebody has seen it. Every receipt of an operation that names its request is one, and every `AuthRequest`. */
export interface SeenRequest {
  readonly authRequestId: string;
  readonly lastEventSequence: number;
}

/** Two pages of the largest size. */
const MOST = 2_000;

/** A {@link SeenRequest}, or a list of them. */
export const Seen = (): PropertyDecorator =>
  rule({
    name: 'seen',
    holds: (value) => (Array.isArray(value) ? value.length <= MOST && value.every(isSeen) : isSeen(value)),
    message: `must be an object with authRequestId and lastEventSequence, or a list of at most ${MOST}`,
  });

const isSeen = (value: unknown): boolean => {
  const { authRequestId, lastEventSequence } = value as Record<keyof SeenRequest, unknown>;
  return (
    isUuid(authRequestId) &&
    Number.isSafeInteger(lastEventSequence) &&
    (lastEventSequence as number) >= 0 &&
    (lastEventSequence as number) <= LARGEST_INTEGER
  );
};
