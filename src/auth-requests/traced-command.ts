import { IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { TextMap } from '../validation/json-rules';
import { Text } from '../validation/rules';

/** What any command may carry beside its own: where it comes from. */
export abstract class TracedCommand {
  /** Groups all that one incoming request caused. Kept in the event's metadata. */
  @FreeText()
  @IsOptional()
  @Text(1, 255)
  correlationId?: string;

  /** The event or message that caused this one. Kept in the event's metadata. */
  @FreeText()
  @IsOptional()
  @Text(1, 255)
  causationId?: string;

  /** For the outbox messages, such as a W3C `traceparent`. */
  @FreeText()
  @IsOptional()
  @TextMap()
  headers?: Record<string, string>;
}
