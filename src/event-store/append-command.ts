import { IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { JsonObject } from '../validation/json-rules';
import { rule } from '../validation/rule';
import { isUuid, LARGEST_INTEGER, Uuid, WholeNumber } from '../validation/rules';
import { type EventMetadata } from './event-metadata';
import { type NewEvent } from './event-store';

/** One authorization request's events. */
export class StreamRef {
  @Uuid()
  authRequestId: string;

  @Uuid()
  restaurantId: string;
}

/** The most events of one append. */
const MOST_EVENTS = 1_000;

/** What else an append may be told. */
export class AppendOptions {
  /** Of each of the events: JSON, of at most 100 levels and a million characters. Default `{}`. */
  @FreeText()
  @IsOptional()
  @Origin()
  @JsonObject()
  metadata?: EventMetadata;
}

/** Where an event comes from is text: as anything else it would be written and never be found again. */
function Origin(): PropertyDecorator {
  return rule({
    name: 'origin',
    holds: (value) => {
      const { correlationId, causationId } = value as EventMetadata;
      return [correlationId, causationId].every((id: unknown) => id == null || typeof id === 'string');
    },
    message: 'must have text as correlationId and causationId',
  });
}

/** The arguments of an append, checked together. */
export class AppendCommand extends StreamRef {
  @WholeNumber(0, LARGEST_INTEGER - MOST_EVENTS)
  expectedSequence: number;

  @NewEvents()
  events: readonly NewEvent[];
}

/** Events, each with data, and with an id of its own or none. What is in the data is looked at when it is encoded. */
function NewEvents(): PropertyDecorator {
  return rule({
    name: 'newEvents',
    holds: (value) =>
      Array.isArray(value) &&
      value.length >= 1 &&
      value.length <= MOST_EVENTS &&
      Array.from(value).every(isNewEvent) &&
      haveIdsOfTheirOwn(value as NewEvent[]),
    message: `must be 1 to ${MOST_EVENTS} events, each with type and data, and with a UUID of its own as eventId or none`,
  });
}

function isNewEvent(event: unknown): boolean {
  const { type, data, eventId } = event as Record<keyof NewEvent, unknown>;
  return typeof type === 'string' && typeof data === 'object' && data !== null && (eventId == null || isUuid(eventId));
}

function haveIdsOfTheirOwn(events: readonly NewEvent[]): boolean {
  const ids = events.flatMap(({ eventId }) => eventId?.toLowerCase() ?? []);
  return new Set(ids).size === ids.length;
}

/** Which part of a stream to read. */
export class ReadStreamOptions {
  /** The number of the first event: 1 to 2^31 − 1. Default 1. */
  @IsOptional()
  @WholeNumber(1, LARGEST_INTEGER)
  from?: number;

  /** At most so many: 1 to 10,000. Default 1,000. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  limit?: number;
}

/** How to walk a stream. */
export class IterateOptions {
  /** The number of the first event: 1 to 2^31 − 1. Default 1. */
  @IsOptional()
  @WholeNumber(1, LARGEST_INTEGER)
  from?: number;

  /** How many events are in memory at a time: 1 to 10,000. Default 500. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;
}
