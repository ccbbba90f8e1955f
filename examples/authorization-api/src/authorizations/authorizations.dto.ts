import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { type AuthRequest, AuthorizeCommand, VoidCommand } from 'payment-events-db';

const STATUSES = ['PENDING', 'PROCESSING', 'AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED'];

/** What a restaurant asks for. The rules are those of the command. */
export class AuthorizeBody extends PickType(AuthorizeCommand, ['paymentToken', 'amountCents', 'currency', 'metadata']) {
  @ApiProperty({ example: 'pt_123', maxLength: 64 })
  override paymentToken: string;

  @ApiProperty({ type: 'integer', minimum: 1, example: 1050, description: "In the currency's minor unit" })
  override amountCents: number;

  @ApiProperty({ example: 'USD', pattern: '^[A-Z]{3}$' })
  override currency: string;

  @ApiPropertyOptional({ type: 'object', additionalProperties: true, example: { orderId: 'order-42' } })
  override metadata?: Record<string, unknown>;
}

export class VoidBody extends PickType(VoidCommand, ['reason']) {
  @ApiProperty({ example: 'the guest has left', maxLength: 1000 })
  override reason: string;
}

/** What has come of a request so far. */
export class Authorization {
  @ApiProperty({ format: 'uuid' })
  readonly authRequestId: string;

  @ApiProperty({ enum: STATUSES })
  readonly status: string;

  @ApiPropertyOptional({ type: 'integer', nullable: true })
  readonly authorizedAmountCents?: number | null;

  @ApiPropertyOptional({ type: String, nullable: true })
  readonly authorizationCode?: string | null;

  @ApiPropertyOptional({ type: String, nullable: true })
  readonly denialCode?: string | null;
}

export const toAuthorization = ({
  authRequestId,
  status,
  authorizedAmountCents,
  authorizationCode,
  denialCode,
}: AuthRequest): Authorization => ({ authRequestId, status, authorizedAmountCents, authorizationCode, denialCode });

/** What a void means for the money. */
export class VoidedAuthorization {
  @ApiProperty({ format: 'uuid' })
  readonly authRequestId: string;

  @ApiProperty({ enum: STATUSES })
  readonly status: string;

  @ApiProperty({ enum: ['not_required', 'pending', 'queued'] })
  readonly outcome: string;
}
