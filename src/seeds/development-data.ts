/** The restaurant that local development and examples use. */
export const DEVELOPMENT_RESTAURANT_ID = '00000000-0000-0000-0000-000000000001';

/** One configuration a restaurant, without the processor's secrets. */
export const developmentConfigs = [
  {
    restaurantId: DEVELOPMENT_RESTAURANT_ID,
    configVersion: 'v1',
    processorName: 'stripe',
    processorConfig: { statement_descriptor: 'TEST RESTAURANT' },
  },
] as const;

export type DevelopmentConfig = (typeof developmentConfigs)[number];
