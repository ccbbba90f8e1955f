import fc from 'fast-check';

export const KEYS = ['k1', 'k2', 'k3', 'k4'] as const;
export type Key = (typeof KEYS)[number];
export type Worker = 'w1' | 'w2' | 'w3';
export type Version = 'v1' | 'v2';
export type Outcome = 'not_asked' | 'unknown' | 'nothing_held';
/** The processor's id of an authorization. No worker is ever answered with the last. */
export type HoldId = 'p1' | 'p2' | 'p3';
export type HoldEnd = 'captured' | 'voided' | 'lapsed';

type Told = 'authorized' | HoldEnd;
/** A message of the processor, which names another amount than the other. */
type SourceEvent = 'e1' | 'e2';
type RetryBy = 'outbox' | 'broker';

/** What each message of the processor says that was held, captured or voided. */
export const CENTS_OF: Record<SourceEvent, number> = { e1: 60, e2: 90 };

/** What anybody may do, and what time does. A request goes by the key it was last authorized with. */
export type Operation =
  | { does: 'authorize'; key: Key; cents: number }
  | { does: 'void'; request: Key; key: Key; reason: string }
  | { does: 'expire'; request: Key }
  | { does: 'expire all' }
  | { does: 'acquire' | 'renew' | 'release'; request: Key; worker: Worker }
  | { does: 'start'; request: Key; worker: Worker; version: Version; beside: boolean }
  | { does: 'authorized'; request: Key; worker: Worker; answer: 'p1' | 'p2' | 'too much' | 'in euros' }
  | { does: 'denied'; request: Key; worker: Worker; code: string }
  | { does: 'failed'; request: Key; worker: Worker; retryable: boolean; outcome: Outcome }
  | {
      does: 'report';
      request: Key;
      names: 'the request' | 'the id alone';
      hold: HoldId;
      told: Told;
      event: SourceEvent;
    }
  | { does: 'to void'; request: Key; worker: Worker; hold: HoldId }
  | { does: 'voided'; request: Key; worker: Worker; hold: HoldId }
  | { does: 'void failed'; request: Key; worker: Worker; hold: HoldId; retryable: boolean; code: string; by: RetryBy }
  | { does: 'requeue void'; request: Key; hold: HoldId }
  | { does: 'record end'; request: Key; hold: HoldId; end: HoldEnd; person: 'ana' | 'bob' }
  | { does: 'lose the lease'; request: Key }
  | { does: 'forget the key'; key: Key };

export function describeOperation(operation: Operation): string {
  const { does, ...details } = operation;
  return `${does}(${Object.values(details).join(', ')})`;
}

const oftenThe = <T>(first: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(first) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

/** Mostly one request and one worker, so that much happens to it. */
const request = oftenThe<Key>('k1', 'k2');
const worker = oftenThe<Worker>('w1', 'w2', 'w3');
const hold = fc.oneof(
  { weight: 4, arbitrary: fc.constant<HoldId>('p1') },
  { weight: 1, arbitrary: fc.constantFrom<HoldId>('p2', 'p3') },
);
const end = fc.constantFrom<HoldEnd>('captured', 'voided', 'lapsed');
const key = fc.constantFrom<Key>('k1', 'k2', 'k3', 'k4');

const OPERATIONS: [weight: number, operation: fc.Arbitrary<Operation>][] = [
  [3, fc.record({ does: fc.constant('authorize'), key, cents: oftenThe(100, 200) })],
  [3, fc.record({ does: fc.constant('void'), request, key, reason: oftenThe('left', 'twice') })],
  [1, fc.record({ does: fc.constant('expire'), request })],
  [5, fc.record({ does: fc.constant('acquire'), request, worker })],
  [1, fc.record({ does: fc.constant('renew'), request, worker })],
  [1, fc.record({ does: fc.constant('release'), request, worker })],
  [
    6,
    fc.record({
      does: fc.constant('start'),
      request,
      worker,
      version: oftenThe<Version>('v1', 'v2'),
      beside: oftenThe(false, true),
    }),
  ],
  [
    5,
    fc.record({
      does: fc.constant('authorized'),
      request,
      worker,
      answer: oftenThe<'p1' | 'p2' | 'too much' | 'in euros'>('p1', 'p2', 'too much', 'in euros'),
    }),
  ],
  [2, fc.record({ does: fc.constant('denied'), request, worker, code: fc.constantFrom('05', '51') })],
  [
    4,
    fc.record({
      does: fc.constant('failed'),
      request,
      worker,
      retryable: fc.boolean(),
      outcome: fc.constantFrom<Outcome>('not_asked', 'unknown', 'nothing_held'),
    }),
  ],
  [
    5,
    fc.record({
      does: fc.constant('report'),
      request,
      names: oftenThe<'the request' | 'the id alone'>('the request', 'the id alone'),
      hold,
      told: fc.constantFrom<Told>('authorized', 'captured', 'voided', 'lapsed'),
      event: fc.constantFrom<SourceEvent>('e1', 'e2'),
    }),
  ],
  [2, fc.record({ does: fc.constant('to void'), request, worker, hold })],
  [2, fc.record({ does: fc.constant('voided'), request, worker, hold })],
  [
    4,
    fc.record({
      does: fc.constant('void failed'),
      request,
      worker,
      hold,
      retryable: fc.boolean(),
      code: fc.constantFrom('A', 'B'),
      by: oftenThe<RetryBy>('outbox', 'broker'),
    }),
  ],
  [3, fc.record({ does: fc.constant('requeue void'), request, hold })],
  [
    1,
    fc.record({
      does: fc.constant('record end'),
      request,
      hold,
      end,
      person: fc.constantFrom<'ana' | 'bob'>('ana', 'bob'),
    }),
  ],
  [2, fc.record({ does: fc.constant('lose the lease'), request })],
  [1, fc.record({ does: fc.constant('forget the key'), key })],
];

/** What is decided by a key alone. */
export const anOperationOnAKey: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ does: fc.constant('authorize'), key, cents: oftenThe(100, 200) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('forget the key'), key }) },
);

/** Any operation on one request. */
export const anOperation: fc.Arbitrary<Operation> = fc.oneof(
  ...OPERATIONS.map(([weight, arbitrary]) => ({ weight, arbitrary })),
);

/** Also the one that looks at all requests. */
export const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 40, arbitrary: anOperation },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('expire all') }) },
);
