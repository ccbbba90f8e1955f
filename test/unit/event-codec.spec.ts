import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import {
  create,
  equals,
  fromBinary,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type Message,
} from '@bufbuild/protobuf';
import fc from 'fast-check';
import { UndecodableEventError, UnencodableMessageError, UnknownEventTypeError } from '../../src/errors';
import { decodeEvent, encodeEvent, isPaymentEventType, type PaymentEventBody } from '../../src/event-store/event-codec';
import * as events from '../../src/protobuf/generated/payments/v1/events_pb';
import * as outbox from '../../src/protobuf/generated/payments/v1/outbox_pb';
import {
  decodeOutboxMessage,
  encodeOutboxMessage,
  isOutboxMessageType,
  type OutboxMessageBody,
} from '../../src/outbox/message-codec';

const eventSchemas: Record<PaymentEventBody['type'], DescMessage> = {
  AuthRequestCreated: events.AuthRequestCreatedSchema,
  AuthAttemptStarted: events.AuthAttemptStartedSchema,
  AuthResponseReceived: events.AuthResponseReceivedSchema,
  AuthAttemptFailed: events.AuthAttemptFailedSchema,
  AuthVoidRequested: events.AuthVoidRequestedSchema,
  AuthRequestExpired: events.AuthRequestExpiredSchema,
  AuthHoldReported: events.AuthHoldReportedSchema,
  AuthHoldEnded: events.AuthHoldEndedSchema,
  AuthVoidCompleted: events.AuthVoidCompletedSchema,
  AuthVoidFailed: events.AuthVoidFailedSchema,
  AuthVoidRequeued: events.AuthVoidRequeuedSchema,
};
const outboxSchemas: Record<OutboxMessageBody['type'], DescMessage> = {
  auth_request_queued: outbox.AuthRequestQueuedMessageSchema,
  void_request_queued: outbox.VoidRequestQueuedMessageSchema,
};

const eventId = '0199f1e2-7e1c-7000-8000-000000000001';
const decode = (type: string, bytes: Uint8Array) => decodeEvent(type, bytes, { eventId });

describe('what the services before this package have stored', () => {
  interface StoredRequest {
    authRequestId: string;
    events: { eventId: string; eventType: string; decoded: object }[];
    outbox: { messageType: string; decoded: object }[];
  }
  interface Expected {
    requests: StoredRequest[];
    broken: StoredRequest[];
    counts: { payment_events: number; outbox: number };
  }
  const fixture = (name: string) => readFileSync(`${__dirname}/../fixtures/${name}`, 'utf8');
  const sql = fixture('legacy-small.sql');
  const expected = JSON.parse(fixture('legacy-small.expected.json')) as Expected;
  const requests = [...expected.requests, ...expected.broken];

  /** Our plain data the way the fixture's decoder printed it: proto names, int64 as text, defaults left out. */
  function asProtoJson(data: object): object {
    return Object.fromEntries(
      Object.entries(data).flatMap(([key, value]: [string, unknown]) => {
        const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
        if (value instanceof Date) return [[name, String(value.getTime() / 1000)]];
        if (key === 'status') return [[name, `AUTH_STATUS_${String(value)}`]];
        if (key.toLowerCase().endsWith('metadata')) return Object.keys(value as object).length ? [[name, value]] : [];
        if (typeof value === 'object') return [[name, asProtoJson(value!)]];
        if (!value) return [];
        return [[name, typeof value === 'number' && key !== 'retryCount' ? String(value) : value]];
      }),
    );
  }

  test('every event reads as expected and encodes to an equal message', () => {
    const rows = [
      ...sql.matchAll(/^\t\(\d+, '([0-9a-f-]{36})', '[0-9a-f-]{36}', 'auth_request', '(\w+)', '\\x(\w*)'/gm),
    ];
    const stored = new Map(rows.map(([, id, type, hex]) => [id!, { type: type!, bytes: Buffer.from(hex!, 'hex') }]));
    expect(stored.size).toBe(expected.counts.payment_events);

    const all = requests.flatMap((request) => request.events);
    expect(all).toHaveLength(stored.size);
    for (const { eventId, eventType, decoded } of all) {
      const { type, bytes } = stored.get(eventId)!;
      expect(type).toBe(eventType);
      const event = decodeEvent(type, bytes, { eventId });
      expect({ type: event.type, data: asProtoJson(event.data) }).toEqual({ type: eventType, data: decoded });
      const schema = eventSchemas[event.type];
      expect(equals(schema, fromBinary(schema, encodeEvent(event)), fromBinary(schema, bytes))).toBe(true);
    }
  });

  test('every outbox payload reads as expected and encodes to an equal message', () => {
    const rows = [...sql.matchAll(/^\t\((\d+), '([0-9a-f-]{36})', '(\w+_queued)', '\\x(\w*)'/gm)]
      .map(([, id, aggregateId, type, hex]) => ({ id, aggregateId, type: type!, bytes: Buffer.from(hex!, 'hex') }))
      .sort((a, b) => Number(a.id) - Number(b.id));
    expect(rows).toHaveLength(expected.counts.outbox);

    for (const request of requests) {
      const stored = rows.filter((row) => row.aggregateId === request.authRequestId);
      const messages = stored.map(({ type, bytes }) => decodeOutboxMessage(type, bytes));
      expect(messages.map(({ type, data }) => ({ messageType: type, decoded: asProtoJson(data) }))).toEqual(
        request.outbox.map(({ messageType, decoded }) => ({ messageType, decoded })),
      );
      messages.forEach((message, i) => {
        const schema = outboxSchemas[message.type];
        const bytes = encodeOutboxMessage(message);
        expect(equals(schema, fromBinary(schema, bytes), fromBinary(schema, stored[i]!.bytes))).toBe(true);
      });
    }
  });
});

/** Any data that a message can carry. */
function dataOf(message: DescMessage): fc.Arbitrary<object> {
  return fc.record(Object.fromEntries(message.fields.map((field) => [field.localName, valueOf(field)])));
}

const text = fc.string({ unit: 'binary' });

function valueOf(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === 'enum') return fc.constantFrom(...field.enum.values.map(({ localName }) => localName));
  if (field.fieldKind === 'message') return fc.option(dataOf(field.message), { nil: undefined });
  if (field.fieldKind === 'map') return fc.dictionary(text, text);
  if (field.localName.endsWith('At')) {
    return fc.integer({ min: -8.64e12, max: 8.64e12 }).map((s) => (s === 0 ? undefined : new Date(s * 1000)));
  }
  if (field.scalar === ScalarType.BOOL) return fc.boolean();
  if (field.scalar === ScalarType.STRING) return text;
  return fc.oneof(fc.constant(0), field.scalar === ScalarType.INT32 ? fc.integer() : fc.maxSafeInteger());
}

const anyEvent = fc
  .constantFrom(...Object.entries(eventSchemas))
  .chain(([type, schema]) => dataOf(schema).map((data) => ({ type, data }) as PaymentEventBody));
const anyOutboxMessage = fc
  .constantFrom(...Object.entries(outboxSchemas))
  .chain(([type, schema]) => dataOf(schema).map((data) => ({ type, data }) as OutboxMessageBody));

test('any event that can be encoded reads back as it was', () => {
  fc.assert(
    fc.property(anyEvent, (event) => expect(decode(event.type, encodeEvent(event))).toEqual(event)),
    { numRuns: 500 },
  );
});

test('any outbox message that can be encoded reads back as it was', () => {
  fc.assert(
    fc.property(anyOutboxMessage, (message) =>
      expect(decodeOutboxMessage(message.type, encodeOutboxMessage(message))).toEqual(message),
    ),
  );
});

/** Plain data as the generated message of the runtime. */
function generated(schema: DescMessage, data: object): Message {
  const values = schema.fields.map((field) => {
    const value = (data as Record<string, unknown>)[field.localName];
    if (value instanceof Date) return [field.localName, BigInt(value.getTime() / 1000)];
    if (field.fieldKind === 'enum')
      return [field.localName, field.enum.values.find((v) => v.localName === value)?.number];
    if (field.fieldKind === 'message') return [field.localName, value && generated(field.message, value)];
    return [field.localName, field.scalar === ScalarType.INT64 && value ? BigInt(value as number) : value];
  });
  return create(schema, Object.fromEntries(values) as Record<string, unknown>);
}

test('any event and any outbox message has the bytes that the protobuf runtime gives it', () => {
  fc.assert(
    fc.property(anyEvent, anyOutboxMessage, (event, message) => {
      const [ofEvent, ofMessage] = [eventSchemas[event.type], outboxSchemas[message.type]];
      expect(encodeEvent(event)).toEqual(toBinary(ofEvent, generated(ofEvent, event.data)));
      expect(encodeOutboxMessage(message)).toEqual(toBinary(ofMessage, generated(ofMessage, message.data)));
    }),
    { numRuns: 500 },
  );
});

test('neither a refused event nor a large one leaves anything behind in the next', () => {
  const empty = decode('AuthResponseReceived', Buffer.alloc(0)) as PaymentEventBody<'AuthResponseReceived'>;
  const refused = {
    ...empty,
    data: { ...empty.data, authRequestId: eventId, result: {} },
  } as unknown as PaymentEventBody;
  const voided = (reason: string) =>
    encodeEvent({ type: 'AuthVoidRequested', data: { authRequestId: eventId, reason, requestedAt: undefined } });
  const first = voided('first');
  expect(() => encodeEvent(refused)).toThrow(UnencodableMessageError);
  expect(voided('first')).toEqual(first);
  const large = 'x'.repeat(100_000);
  expect(decode('AuthVoidRequested', voided(large)).data).toMatchObject({ reason: large });
  expect(voided('first')).toEqual(first);
});

const hostileBytes = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.tuple(anyEvent, fc.nat(), fc.nat({ max: 255 }), fc.boolean()).map(([event, at, byte, cut]) => {
    const bytes = encodeEvent(event);
    if (cut) return bytes.subarray(0, at % (bytes.length + 1));
    if (bytes.length > 0) bytes[at % bytes.length] = byte;
    return bytes;
  }),
);

test('any bytes either read as an event that survives being encoded, or give the error that names the event', () => {
  const outcomes = { read: 0, refused: 0 };
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(eventSchemas)), hostileBytes, (type, bytes) => {
      let event: PaymentEventBody;
      try {
        event = decode(type, bytes);
      } catch (error) {
        outcomes.refused++;
        expect(error).toBeInstanceOf(UndecodableEventError);
        expect(error).toMatchObject({ eventType: type, eventId });
        return;
      }
      outcomes.read++;
      expect(decode(type, encodeEvent(event))).toEqual(event);
    }),
    { numRuns: 2000 },
  );
  expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(50);
});

describe('bytes that are no event of their type', () => {
  const field = (tag: number, content: Buffer) => Buffer.concat([Buffer.from([tag, content.length]), content]);
  const secret = Buffer.from('pt_secret_token');
  const created = toBinary(events.AuthRequestCreatedSchema, {
    $typeName: 'payments.v1.AuthRequestCreated',
    authRequestId: eventId,
    paymentToken: 'pt_secret_token',
    restaurantId: eventId,
    amountCents: 9007199254740992n,
    currency: 'USD',
    metadata: {},
    createdAt: 1n,
  });

  test.each([
    ['truncated', 'AuthRequestCreated', field(0x12, secret).subarray(0, 8)],
    ['not UTF-8', 'AuthRequestCreated', field(0x12, Buffer.concat([secret, Buffer.from([0xc3, 0x28])]))],
    ['of another wire type, cut short', 'AuthVoidRequested', Buffer.from([0x0d, 1])],
    ['an amount beyond the safe integers', 'AuthRequestCreated', created],
    ['a time beyond Date', 'AuthVoidRequested', Buffer.from([0x18, ...Array<number>(8).fill(0xff), 0x7f])],
    ['a status that is not defined', 'AuthResponseReceived', Buffer.from([0x10, 99])],
    ['groups nested without end', 'AuthVoidRequested', Buffer.alloc(200_000, 0x2b)],
  ])('%s: the error names the event and nothing of its content', (_, type, bytes) => {
    const error = (() => {
      try {
        return decode(type, bytes);
      } catch (error) {
        return error as UndecodableEventError;
      }
    })();
    expect(error).toBeInstanceOf(UndecodableEventError);
    expect(error).toMatchObject({ code: 'UNDECODABLE_EVENT', retryable: false, eventType: type, eventId });
    expect((error as Error).message).toContain(eventId);
    expect((error as Error).message).toContain(type);
    expect((error as Error).cause).toBeUndefined();
    expect(inspect(error, { showHidden: true, depth: 9 }) + JSON.stringify(error)).not.toContain('secret');
  });
});

test.each(['AuthRequestDeleted', 'authRequestCreated', '', 'toString', '__proto__'])(
  'an event type that does not exist (%p) is named in its error, whatever its bytes',
  (type) => {
    expect(isPaymentEventType(type)).toBe(false);
    expect(() => decode(type, Buffer.alloc(0))).toThrow(UnknownEventTypeError);
    expect(() => decode(type, Buffer.alloc(0))).toThrow(eventId);
    expect(() => encodeEvent({ type, data: {} } as unknown as PaymentEventBody)).toThrow(UnencodableMessageError);
  },
);

test('an outbox payload of unknown type or content is refused with its type', () => {
  const refused = expect.objectContaining({ code: 'UNDECODABLE_OUTBOX_MESSAGE' }) as Error;
  expect(isOutboxMessageType('refund_queued')).toBe(false);
  expect(() => decodeOutboxMessage('refund_queued', Buffer.alloc(0))).toThrow(refused);
  expect(() => decodeOutboxMessage('auth_request_queued', Buffer.from([0x0a, 9]))).toThrow(refused);
});

describe('what a message cannot carry is refused by name, not stored as something else', () => {
  const created = (data: object) =>
    encodeEvent({
      type: 'AuthRequestCreated',
      data: {
        authRequestId: eventId,
        paymentToken: 'pt_secret_token',
        restaurantId: eventId,
        amountCents: 1050,
        currency: 'USD',
        metadata: {},
        createdAt: new Date(),
        ...data,
      },
    });

  test.each([
    ['amountCents', 10.5],
    ['amountCents', 2 ** 53],
    ['amountCents', NaN],
    ['amountCents', '1050'],
    ['amountCents', undefined],
    ['createdAt', new Date(NaN)],
    ['createdAt', 1787702354],
    ['paymentToken', 'pt_secret_token\ud83c'],
    ['paymentToken', undefined],
    ['metadata', { note: 'secret\ud83c' }],
    ['metadata', { tip: 5 }],
    ['metadata', undefined],
  ])('%s: %p', (field, value) => {
    expect(() => created({ [field]: value })).toThrow(
      expect.objectContaining({ code: 'UNENCODABLE_MESSAGE', messageName: 'AuthRequestCreated', field }) as Error,
    );
    expect(() => created({ [field]: value })).not.toThrow('secret');
  });

  test.each([
    ['isRetryable', 1],
    ['retryCount', 2 ** 31],
    ['retryCount', 0.5],
  ])('%s: %p', (field, value) => {
    const event = decode('AuthAttemptFailed', Buffer.alloc(0));
    const changed = { ...event, data: { ...event.data, [field]: value } } as unknown as PaymentEventBody;
    expect(() => encodeEvent(changed)).toThrow(expect.objectContaining({ field }) as Error);
  });

  test.each(['REFUNDED', 3, 'toString'])('status: %p', (status) => {
    const event = decode('AuthResponseReceived', Buffer.alloc(0));
    const changed = { ...event, data: { ...event.data, status } } as unknown as PaymentEventBody;
    expect(() => encodeEvent(changed)).toThrow(expect.objectContaining({ field: 'status' }) as Error);
  });
});

test('a time keeps its second; a time that is not set stays so', () => {
  const data = { authRequestId: eventId, reason: '', requestedAt: new Date('2026-09-05T03:32:03.999Z') };
  const read = (requestedAt: Date | undefined) =>
    decode('AuthVoidRequested', encodeEvent({ type: 'AuthVoidRequested', data: { ...data, requestedAt } })).data;
  expect(read(data.requestedAt)).toEqual({ ...data, requestedAt: new Date('2026-09-05T03:32:03Z') });
  expect(read(undefined)).toEqual({ ...data, requestedAt: undefined });
});

test('a field that a newer version added is left out', () => {
  const newer = Buffer.from([0x0a, 1, 0x61, 0xa0, 0x06, 1]);
  expect(decode('AuthVoidRequested', newer).data).toEqual({ authRequestId: 'a', reason: '', requestedAt: undefined });
});
