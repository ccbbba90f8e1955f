import { applyDecorators, type INestApplication } from '@nestjs/common';
import { ApiResponse, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

/** The document at `/openapi.json`, and a page that shows it at `/docs`. */
export function serveOpenApi(app: INestApplication): void {
  const config = new DocumentBuilder().setTitle('Authorization API').setVersion('1').build();
  SwaggerModule.setup('docs', app, SwaggerModule.createDocument(app, config), { jsonDocumentUrl: 'openapi.json' });
}

const PROBLEM = {
  type: 'object',
  required: ['title', 'status', 'detail', 'code'],
  properties: {
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', example: 'IDEMPOTENCY_KEY_REUSE' },
    problems: { type: 'array', items: { type: 'string' } },
  },
};

/** That an operation may be answered with these errors: problem details, RFC 9457. */
export const ApiProblems = (problems: Readonly<Record<number, string>>) =>
  applyDecorators(
    ...Object.entries(problems).map(([status, description]) =>
      ApiResponse({
        status: Number(status),
        description,
        content: { 'application/problem+json': { schema: PROBLEM } },
      }),
    ),
  );
