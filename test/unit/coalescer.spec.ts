import { Coalescer } from '../../src/database/coalescer';

interface Request {
  readonly key: string;
}

/** An operation whose statements end when the test has them end. */
class Statements {
  readonly sent: (readonly Request[])[] = [];
  readonly #ends: (() => void)[] = [];
  tell: (request: Request, outcome: string) => void = () => undefined;

  readonly coalescer = new Coalescer<Request, string>(
    {
      name: 'test',
      keyOf: ({ key }) => key,
      bytesOf: () => 1,
      one: async (request) => {
        await this.#inFlight([request]);
        return 'taken';
      },
      many: async (requests, tell) => {
        this.tell = tell;
        await this.#inFlight(requests);
        for (const request of requests) tell(request, 'taken');
      },
      isShared: () => false,
    },
    { statements: 2, spare: 0, patienceMs: 60_000 },
  );

  end(index: number): Promise<void> {
    this.#ends[index]!();
    return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  }

  #inFlight(requests: readonly Request[]): Promise<void> {
    this.sent.push(requests);
    return new Promise((resolve) => this.#ends.push(resolve));
  }
}

test('a call whose key has become free goes at once, though the statement that had it goes on for others', async () => {
  const statements = new Statements();
  const ask = (key: string) => statements.coalescer.call({ key });
  const [first, second, a, b] = ['1', '2', 'a', 'b'].map(ask);
  await statements.end(0);
  await statements.end(1);
  expect(statements.sent.slice(2)).toEqual([[{ key: 'a' }, { key: 'b' }]]);
  const again = ask('a');
  // It is decided, and the statement looks further into the other.
  statements.tell(statements.sent[2]![0]!, 'taken');
  expect(await a).toBe('taken');
  await new Promise(setImmediate);
  expect(statements.sent.slice(3)).toEqual([[{ key: 'a' }]]);
  await statements.end(3);
  expect(await again).toBe('taken');
  await statements.end(2);
  expect(await Promise.all([first, second, b])).toEqual(['taken', 'taken', 'taken']);
});
