import { ArrayNotEmpty, ArrayUnique, IsInt, Max, Min } from 'class-validator';
import { JsonObject } from '../validation/json-rules';
import { Uuid } from '../validation/rules';
import { type EventMetadata } from './event-metadata';

/** One authorization request's events. */
export class StreamRef {
  @Uuid()
  authRequestId: string;

  @Uuid()
  restaurantId: string;
}

/** The arguments of an append, checked together. */
export class AppendCommand extends StreamRef {
  @IsInt()
  @Min(0)
  @Max(2_147_483_647)
  expectedSequence: number;

  @JsonObject()
  metadata: EventMetadata;

  @ArrayNotEmpty()
  @ArrayUnique()
  @Uuid({ each: true })
  eventIds: string[];
}
