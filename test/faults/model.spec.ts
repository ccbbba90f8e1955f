import fc from 'fast-check';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { Model } from '../support/model/model';
import {
  anOperation,
  anOperationOnAKey,
  anyOperation,
  describeOperation,
  type Operation,
} from '../support/model/model-operations';
import { System } from '../support/model/model-system';
import { crowdOf, overlap } from '../support/requests/races';
import { type Company, refusePoison } from '../support/requests/together';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
beforeAll(async () => {
  crowd = await crowdOf(4, database, { coalescedStatements: 1 });
  await refusePoison(database);
});
afterAll(() => crowd.destroy());

/** Answers that the runs must have come across; else they went nowhere. */
const EVERYTHING_WORTH_SEEING = [
  'acquire: false',
  'acquire: true',
  'authorize: IDEMPOTENCY_KEY_REUSE',
  'authorize: replayed',
  'authorized: ',
  'authorized: AUTHORIZATION_MISMATCH',
  'authorized: AUTH_REQUEST_STATUS',
  'authorized: LOCK_LOST',
  'authorized: replayed',
  'authorized: void queued',
  'denied: ',
  'denied: AUTH_REQUEST_STATUS',
  'denied: replayed',
  'denied: LOCK_LOST',
  'expire: AUTH_REQUEST_STATUS',
  'expire: done',
  'failed: ',
  'failed: AUTH_REQUEST_STATUS',
  'failed: LOCK_LOST',
  'start: LOCK_LOST',
  'start: nothing_to_do',
  'start: proceed',
  'start: settle',
  'report: AMBIGUOUS_HOLD',
  'report: HOLD_NOT_FOUND',
  'report: captured',
  'report: captured, replayed',
  'report: held',
  'report: lapsed',
  'report: voided',
  'report: voiding, void queued',
  'record end: HOLD_NOT_FOUND',
  'record end: captured',
  'record end: voided',
  'requeue void: HOLD_NOT_FOUND',
  'requeue void: HOLD_STATE',
  'requeue void: queued',
  'to void: LOCK_LOST',
  'to void: nothing_to_do, held',
  'to void: void',
  'void failed: LOCK_LOST',
  'void failed: void_failed',
  'void failed: voiding',
  'voided: HOLD_NOT_FOUND',
  'voided: LOCK_LOST',
  'voided: captured',
  'voided: voided',
  'voided: voided, replayed',
  'void: IDEMPOTENCY_KEY_REUSE',
  'void: NOT_VOIDABLE',
  'void: not_required',
  'void: pending',
  'void: queued',
];

/** One operation, done to the model and to the database, which must give the same answer and end up the same. */
class Step implements fc.AsyncCommand<Model, System> {
  constructor(private readonly operation: Operation) {}

  check(model: Readonly<Model>): boolean {
    return model.callFor(this.operation) !== undefined;
  }

  async run(model: Model, system: System): Promise<void> {
    const call = model.callFor(this.operation)!;
    const expected = model.apply(call);
    seen.add(`${this.operation.does}: ${summaryOf(expected)}`);
    expect(await system.perform(call)).toEqual(expected);
    expect(await system.world()).toEqual(model.world());
  }

  toString(): string {
    return describeOperation(this.operation);
  }
}

/** Which answers the runs have come across, to know that they went anywhere. */
const seen = new Set<string>();
function summaryOf(answer: unknown): string {
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return String(answer);
  const { outcome, state, replayed, voidQueued, queued } = answer as Record<string, unknown>;
  return [outcome, state, replayed && 'replayed', voidQueued && 'void queued', queued && 'queued']
    .filter(Boolean)
    .join(', ');
}

/** Where it may begin, so that much happens: from nothing at all to a hold whose void has failed for good. */
const BEGINNINGS: Operation[][] = [[]];
for (const operation of [
  { does: 'authorize', key: 'k1', cents: 100 },
  { does: 'acquire', request: 'k1', worker: 'w1' },
  { does: 'start', request: 'k1', worker: 'w1', version: 'v1', beside: false },
  { does: 'authorized', request: 'k1', worker: 'w1', answer: 'p1' },
  { does: 'void', request: 'k1', key: 'k2', reason: 'left' },
  { does: 'void failed', request: 'k1', worker: 'w1', hold: 'p1', retryable: false, code: 'A', by: 'outbox' },
] as const) {
  BEGINNINGS.push([...BEGINNINGS.at(-1)!, operation]);
}
// A hold that was captured while its request is under way: of nothing above can it be told again.
BEGINNINGS.push([
  ...BEGINNINGS[3]!,
  { does: 'report', request: 'k1', names: 'the request', hold: 'p1', told: 'captured', event: 'e1' },
]);
// No attempt is open any more: an answer that comes again is a replay.
BEGINNINGS.push([...BEGINNINGS[3]!, { does: 'denied', request: 'k1', worker: 'w1', code: '05' }]);
// Two requests that the processor tells of under the same id.
BEGINNINGS.push(
  (['k1', 'k2'] as const).flatMap((request): Operation[] => [
    { does: 'authorize', key: request, cents: 100 },
    { does: 'report', request, names: 'the request', hold: 'p1', told: 'authorized', event: 'e1' },
  ]),
);
const aBeginning = fc.constantFrom(...BEGINNINGS.slice(1));

/** With whom a call of `authorize` travels. */
const aCompany: fc.Arbitrary<Company> = fc.record({
  size: fc.constantFrom(2, 3, 8, 32, 128),
  poisoned: fc.nat(3).map((one) => one === 0),
});

async function begin(operations: readonly Operation[], company?: Company): Promise<{ model: Model; real: System }> {
  const real = new System(database, crowd, company);
  const model = new Model();
  for (const { call, answer } of foretell(model, operations)) expect(await real.perform(call)).toEqual(answer);
  return { model, real };
}

/** Does what can be done of them to the model. */
function foretell(model: Model, operations: readonly Operation[]) {
  return operations.flatMap((operation) => {
    const call = model.callFor(operation);
    return call ? [{ call, answer: model.apply(call) }] : [];
  });
}

describe('any sequence of operations', () => {
  const play = (operation: fc.Arbitrary<Operation>, company: fc.Arbitrary<Company | undefined>, numRuns: number) => {
    const steps = fc.commands([operation.map((each) => new Step(each))], { maxCommands: 25, size: 'max' });
    return fc.assert(
      fc.asyncProperty(fc.constantFrom(...BEGINNINGS), company, steps, (beginning, travels, sequence) =>
        fc.asyncModelRun(() => begin(beginning, travels), sequence),
      ),
      { numRuns },
    );
  };

  it('does what the model does', async () => {
    const unseen = () => EVERYTHING_WORTH_SEEING.filter((answer) => !seen.has(answer));
    await play(anyOperation, fc.constant(undefined), 250);
    // What is rare may take more.
    for (let more = 0; more < 10 && unseen().length > 0; more++) await play(anyOperation, fc.constant(undefined), 50);
    expect(unseen()).toEqual([]);
  });

  it('does what the model does where each authorize travels in one statement with 1 to 127 others', async () => {
    await play(fc.oneof(anOperationOnAKey, anyOperation), aCompany, 60);
  });
});

/** What one call answered may be about what the other has made: all take note before any is told. */
function tell(...answers: (() => unknown)[]): unknown[] {
  for (const answer of answers) answer();
  return answers.map((answer) => answer());
}

describe('any two operations at once', () => {
  const aMeetingOf = (operation: fc.Arbitrary<Operation>, company: fc.Arbitrary<Company | undefined>) =>
    fc.record({
      beginning: aBeginning,
      before: fc.array(anOperation, { maxLength: 4, size: 'max' }),
      first: operation,
      second: operation,
      meet: fc.constantFrom('at once', 'the first is committed while the second waits', 'the first is rolled back'),
      company,
    });

  it.each([
    ['each by itself', aMeetingOf(anOperation, fc.constant(undefined)), 500, 100],
    [
      'each authorize in one statement with others',
      aMeetingOf(fc.oneof(anOperationOnAKey, anOperation), aCompany),
      100,
      2,
    ],
  ])(
    'do what the model does in one order or the other, and nothing of what was rolled back: %s',
    async (_way, aMeeting, numRuns, leastWaits) => {
      let waits = 0;
      await fc.assert(
        fc.asyncProperty(aMeeting, async ({ beginning, before, first, second, meet, company }) => {
          const history = [...beginning, ...before];
          const model = new Model();
          foretell(model, history);
          const [a, b] = [model.callFor(first), model.callFor(second)];
          fc.pre(a !== undefined && b !== undefined);
          const { real } = await begin(history, company);

          const undone = meet === 'the first is rolled back' && first.does !== 'start';
          const orders = undone ? [[b]] : [[a, b], [a, b].toReversed()];
          const explanations = orders.map((order) => {
            const copy = model.clone();
            const answers = new Map(order.map((call) => [call, copy.apply(call)]));
            return { told: [answers.get(a), answers.get(b)], world: copy.world() };
          });
          let told: unknown[];
          // An attempt begins in a transaction of its own.
          if (meet === 'at once' || first.does === 'start') {
            told = tell(...(await Promise.all([real.send(a), real.send(b)])));
          } else {
            const ending = meet === 'the first is rolled back' ? 'rollback' : 'commit';
            const held = await overlap(
              real,
              (manager) => real.send(a, manager),
              () => real.send(b),
              { ending },
            );
            waits += Number(held.waited);
            told = ending === 'commit' ? tell(held.first, held.second) : [undefined, ...tell(held.second)];
          }
          expect(explanations).toContainEqual({ told, world: await real.world() });
        }),
        { numRuns },
      );
      expect(waits).toBeGreaterThan(leastWaits);
    },
  );
});
