export { DEVELOPMENT_RESTAURANT_ID } from './development-data';
export { DevelopmentOnlyError } from './development-only';
export { DevelopmentSeeder, type SeedOptions } from './development-seeder';
