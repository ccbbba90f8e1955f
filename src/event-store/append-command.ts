import { ArrayNotEmpty, ArrayUnique, IsInt, IsUUID, Max, Min } from 'class-validator';
import { JsonObject } from '../command-rules';
import { type EventMetadata } from './event-metadata';

/** One authorization request's events. */
export class StreamRef {
  @IsUUID()
  authRequestId: string;

  @IsUUID()
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
  @IsUUID('all', { each: true })
  eventIds: string[];
}
