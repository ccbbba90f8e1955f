import { type DescField, type DescMessage } from '@bufbuild/protobuf';
import { getMetadataStorage } from 'class-validator';
import { freeFieldsOf } from '../../src/card-numbers/free-fields';
import { FREE_FIELDS } from '../../src/event-store/encode-screened';
import * as events from '../../src/protobuf/generated/payments/v1/events_pb';
import { type InputClass, inputClasses } from '../support/requests/inputs';

/** Ids and names that later calls need, and settings: nobody looks for a card number in them, and nothing changes them. */
const NOT_LOOKED_AT: Record<string, string[]> = {
  'ids and names that the processor or its message has': [
    'processorName',
    'processorAuthId',
    'source',
    'sourceEventId',
  ],
  'ids and names of workers and configurations': ['workerId', 'configVersion'],
  'decides the queue': ['EnqueueCommand.messageType'],
  'of a claim: a name, what a repeat is answered with, an id that is not recorded in events, and what only a hash is kept of':
    ['ClaimCommand.operation', 'ClaimCommand.outcome', 'ClaimCommand.idempotencyKey', 'ClaimCommand.request'],
  'looked at by `encodeScreened`, field by field': ['AppendCommand.events'],
  'looked at when they were activated, or sealed': ['SealCommand.settings', 'SealCommand.secrets'],
};
const exempt = Object.values(NOT_LOOKED_AT).flat();

/** The properties of a command in which text of the caller's may stand. */
function textsOf(Class: InputClass): string[] {
  const rules = getMetadataStorage().getTargetValidationMetadatas(Class, '', false, false);
  const free = rules.filter(({ name }) => ['text', 'jsonObject', 'textMap', 'bytes', 'newEvents'].includes(name!));
  return [...new Set(free.map(({ propertyName }) => propertyName))];
}

const commands = inputClasses().filter(({ name }) => /Command$|^AppendOptions$/.test(name));

test('each text of each command is looked at for card numbers, or is an id or a name that must not change', () => {
  expect(commands.length).toBeGreaterThan(25);
  const forgotten = commands.flatMap((Class) => {
    const looked = freeFieldsOf(Object.create(Class.prototype as object) as object).map(([property]) => property);
    return textsOf(Class)
      .filter((property) => !looked.includes(property))
      .filter((property) => !exempt.includes(property) && !exempt.includes(`${Class.name}.${property}`))
      .map((property) => `${Class.name}.${property}`);
  });
  expect(forgotten).toEqual([]);
});

test('an id that a caller chooses is looked at, and never changed', () => {
  const kept = commands.flatMap((Class) =>
    freeFieldsOf(Object.create(Class.prototype as object) as object)
      .filter(([, how]) => how === 'kept')
      .map(([property]) => `${Class.name}.${property}`),
  );
  expect(kept.toSorted()).toEqual([
    'AuthorizeCommand.idempotencyKey',
    'AuthorizeCommand.paymentToken',
    'VoidCommand.idempotencyKey',
  ]);
});

test('each text of each event is looked at when it is appended, or is an id or a name', () => {
  const IDS = [
    ...['authRequestId', 'restaurantId', 'paymentToken', 'currency', 'workerId', 'restaurantPaymentConfigVersion'],
    ...['processorName', 'processorAuthId', 'source', 'sourceEventId'],
  ];
  const messages = Object.values(events).filter(
    (each): each is Extract<typeof each, DescMessage> => (each as { kind?: string }).kind === 'message',
  );
  expect(messages.length).toBeGreaterThan(10);
  const isText = (field: DescField) =>
    field.fieldKind === 'map' || (field.fieldKind === 'scalar' && [9, 12].includes(field.scalar));
  const texts = messages.flatMap((message: DescMessage) => message.fields.filter(isText));
  const forgotten = texts.map(({ localName }) => localName).filter((name) => ![...FREE_FIELDS, ...IDS].includes(name));
  expect(forgotten).toEqual([]);
  const nested = messages.flatMap((message: DescMessage) =>
    message.fields.flatMap(({ fieldKind, localName, message: of }) =>
      fieldKind === 'message' && !of.typeName.startsWith('google.') ? [localName] : [],
    ),
  );
  expect([...new Set(nested)]).toEqual(['result']);
});
