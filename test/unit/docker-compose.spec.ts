import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { DEFAULT_DATABASE_URL } from '../../src/config';

const file = path.join(__dirname, '../../infrastructure/docker/docker-compose.yml');

describe('docker-compose.yml', () => {
  test('offers an empty database at the default URL', () => {
    const { services, volumes } = parse(readFileSync(file, 'utf8')) as {
      services: Record<string, { environment: Record<string, string>; ports: string[]; volumes: string[] }>;
      volumes: Record<string, unknown>;
    };
    expect(Object.keys(services)).toEqual(['postgres']);
    const { postgres } = services;
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = postgres!.environment;
    const port = postgres!.ports[0]!.split(':').at(-1);
    expect(`postgresql://${POSTGRES_USER}:${POSTGRES_PASSWORD}@localhost:${port}/${POSTGRES_DB}`).toBe(
      DEFAULT_DATABASE_URL,
    );
    expect(postgres).toMatchObject({
      image: 'postgres:17',
      container_name: 'payments-postgres',
      healthcheck: { test: expect.arrayContaining([expect.stringContaining('pg_isready')]) as string[] },
    });
    // A named volume for the data and nothing else: no start script migrates anything.
    expect(postgres!.volumes).toEqual([`${Object.keys(volumes)[0]}:/var/lib/postgresql/data`]);
  });
});
