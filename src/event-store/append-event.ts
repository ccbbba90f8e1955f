import { bytea, type Column } from '../database/columns';
import { encodeEvent, type PaymentEventBody, type PaymentEventType } from './event-codec';
import { type EventMetadata, toColumn } from './event-metadata';

declare const EVENT: unique symbol;

/** A column of an operation's `input` that holds an event of one type, given as its data. Made by {@link eventOf} alone. */
export interface EventColumn<T extends PaymentEventType = PaymentEventType> extends Column<
  PaymentEventBody<T>['data']
> {
  readonly [EVENT]: true;
  readonly eventType: T;
}

/** The column of an event of that type. */
export const eventOf = <T extends PaymentEventType>(eventType: T): EventColumn<T> => {
  const encode = (data: PaymentEventBody<T>['data']) =>
    bytea.encode(encodeEvent({ type: eventType, data } as PaymentEventBody));
  return { type: 'bytea', eventType, encode } as EventColumn<T>;
};

/** The columns that the event of a statement is made of: its type is that of the column `event`. */
interface EventInput {
  readonly event: Pick<EventColumn, typeof EVENT | 'eventType'>;
  readonly event_metadata: Column<EventMetadata>;
}

/** A column that holds an event's metadata. */
export const eventMetadata: Column<EventMetadata> = { type: 'jsonb', encode: toColumn };

/** The head of every statement that appends events, for a SELECT of these columns. */
export const INSERT_EVENTS = `
  INSERT INTO payment_events
    (aggregate_id, aggregate_type, restaurant_id, event_type, event_id, sequence_number, event_data, metadata)`;

/** The rows that a part `changed` of a statement has written, beside its input. */
export const CHANGED = 'changed JOIN input USING (auth_request_id, restaurant_id)';

interface Append {
  /**
   * What it selects from, with `auth_request_id`, `restaurant_id` and the input's `event` and `event_metadata`. Default:
   * {@link CHANGED}.
   */
  readonly from?: string;
  /** SQL. Default: the row's `last_event_id`. */
  readonly id?: string;
  /** SQL. Default: the row's `last_event_sequence`. */
  readonly sequence?: string;
  /** SQL: fields that are appended to the event. */
  readonly fields?: string;
  /** SQL: an object that is added to the metadata. */
  readonly metadata?: string;
}

/** A part of a statement that appends the event of its input, one for each row of `from`. */
export const appendEvent = (
  { event: { eventType } }: EventInput,
  { from = CHANGED, id = 'last_event_id', sequence = 'last_event_sequence', fields, metadata }: Append = {},
): string => `${INSERT_EVENTS}
  SELECT auth_request_id, 'auth_request', restaurant_id, '${eventType}', ${id}, ${sequence},
         event${fields ? ` || ${fields}` : ''}, event_metadata${metadata ? ` || ${metadata}` : ''}
  FROM ${from}`;
