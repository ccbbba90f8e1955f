import { Text, Uuid } from '../../validation/rules';
import { TracedCommand } from '../traced-command';

/** A command about one hold. */
export abstract class HoldCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  /** Empty where a legacy service has not said it. */
  @Text(0, 50)
  processorName: string;

  /** The processor's own id of the authorization. Empty where a legacy service has not said it. */
  @Text(0, 255)
  processorAuthId: string;
}
