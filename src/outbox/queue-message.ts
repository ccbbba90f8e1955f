import { bytea, type Column } from '../database/columns';
import { encodeOutboxMessage, type OutboxMessageBody, type OutboxMessageType } from './message-codec';
import { withTraceContext } from './trace-context';

declare const MESSAGE: unique symbol;

/** A column of an operation's `input` that holds a message of one type, given as its data. Made by {@link messageOf} alone. */
export interface MessageColumn<T extends OutboxMessageType = OutboxMessageType> extends Column<
  OutboxMessageBody<T>['data']
> {
  readonly [MESSAGE]: true;
  readonly messageType: T;
}

/** The column of a message of that type. */
export const messageOf = <T extends OutboxMessageType>(messageType: T): MessageColumn<T> => {
  const encode = (data: OutboxMessageBody<T>['data']) =>
    bytea.encode(encodeOutboxMessage({ type: messageType, data } as OutboxMessageBody));
  return { type: 'bytea', messageType, encode } as MessageColumn<T>;
};

/** The columns that the message of a statement is made of: its type is that of the column `message`. */
interface MessageInput {
  readonly message: Pick<MessageColumn, typeof MESSAGE | 'messageType'>;
  readonly headers: Column<Record<string, string> | undefined>;
}

/** A column that holds a message's headers; the trace context of the caller is added. */
export const messageHeaders: Column<Record<string, string> | undefined> = {
  type: 'jsonb',
  encode: (headers) => JSON.stringify(withTraceContext(headers)),
};

const insertMessages = (...more: string[]) => `
  INSERT INTO outbox (${['aggregate_id, restaurant_id, message_type, payload, headers', ...more].join(', ')})`;

/** The head of every statement that queues messages to go out at once, for a SELECT of these columns. */
export const INSERT_MESSAGES = insertMessages();

interface Queue {
  /** What it selects from, with `auth_request_id`, `restaurant_id` and the input's `message` and `headers`. */
  readonly from: string;
  /** SQL: fields that are appended to the message. */
  readonly fields?: string;
  /** The column of the input that holds the message. Default: `message`. */
  readonly column?: string;
  /** SQL: not before then. Default: at once. Not every role may say when. */
  readonly dueAt?: string;
}

/** A part of a statement that queues the message of its input, one for each row of `from`. */
export const queueMessage = (
  { message: { messageType } }: MessageInput,
  { from, fields, dueAt, column = 'message' }: Queue,
): string => `${dueAt ? insertMessages('next_attempt_at') : INSERT_MESSAGES}
  SELECT auth_request_id, restaurant_id, '${messageType}', ${column}${fields ? ` || ${fields}` : ''}, headers
         ${dueAt ? `, ${dueAt}` : ''}
  FROM ${from}`;
