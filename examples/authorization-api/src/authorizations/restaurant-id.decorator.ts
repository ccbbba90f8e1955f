import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { type Request } from 'express';

/** Whose request it is: the header `Restaurant-Id`. A real service takes it from the credentials of the caller. */
export const RestaurantId = createParamDecorator((_data: unknown, context: ExecutionContext): string | undefined =>
  context.switchToHttp().getRequest<Request>().header('Restaurant-Id'),
);
