import { type MigrationInterface } from 'typeorm';
import { LegacySchema1795367318204 } from './1795367318204-LegacySchema';
import { LegacyMockProcessor1795367371652 } from './1795367371652-LegacyMockProcessor';
import { ExpandColumns1795367529418 } from './1795367529418-ExpandColumns';
import { ExpandIndexes1795367683950 } from './1795367683950-ExpandIndexes';
import { ContractTimestamps1795367842073 } from './1795367842073-ContractTimestamps';
import { ContractRestaurants1795367990317 } from './1795367990317-ContractRestaurants';
import { ContractKeysAndIndexes1795368131744 } from './1795368131744-ContractKeysAndIndexes';
import { GuardAuthRequestState1795368279561 } from './1795368279561-GuardAuthRequestState';
import { ContractChecks1795368418205 } from './1795368418205-ContractChecks';
import { GuardConfigVersions1795368551890 } from './1795368551890-GuardConfigVersions';
import { GuardPaymentEvents1795368694337 } from './1795368694337-GuardPaymentEvents';
import { CommentOnObjects1795742438022 } from './1795742438022-CommentOnObjects';
import { AddHolds1795775136521 } from './1795775136521-AddHolds';
import { CommentOnHolds1795780298253 } from './1795780298253-CommentOnHolds';
import { AddProcessors1795824155529 } from './1795824155529-AddProcessors';
import { AddConfigSecrets1795824219347 } from './1795824219347-AddConfigSecrets';
import { GuardConfigSecrets1795824264020 } from './1795824264020-GuardConfigSecrets';
import { CommentOnConfigs1795824869411 } from './1795824869411-CommentOnConfigs';

/** Every migration, oldest first, in the form `DataSource` wants. */
export const migrations: (new () => MigrationInterface)[] = [
  LegacySchema1795367318204,
  LegacyMockProcessor1795367371652,
  ExpandColumns1795367529418,
  ExpandIndexes1795367683950,
  ContractTimestamps1795367842073,
  ContractRestaurants1795367990317,
  ContractKeysAndIndexes1795368131744,
  GuardAuthRequestState1795368279561,
  ContractChecks1795368418205,
  GuardConfigVersions1795368551890,
  GuardPaymentEvents1795368694337,
  CommentOnObjects1795742438022,
  AddHolds1795775136521,
  CommentOnHolds1795780298253,
  AddProcessors1795824155529,
  AddConfigSecrets1795824219347,
  GuardConfigSecrets1795824264020,
  CommentOnConfigs1795824869411,
];
