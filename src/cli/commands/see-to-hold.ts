import { Command, InvalidArgumentError, Option } from 'commander';
import { type DataSource } from 'typeorm';
import { Holds } from '../../auth-requests/holds/holds';
import { holdsOf } from '../../auth-requests/holds/holds-of';
import { HOLD_ENDS, type HoldEndState } from '../../auth-requests/holds/states';
import { readConfig } from '../../config';
import { sessionOf } from '../../database/session';
import { HoldNotFoundError } from '../../errors';
import { overShards } from '../shards/over-shards';
import { shardsOfRequest } from '../shards/shards-of-request';
import { uuidArgument } from '../uuid-argument';
import { withDataSource } from '../with-data-source';

/** What names a hold, and says who decided. */
interface PersonOptions {
  processor?: string;
  id: string;
  by: string;
  reason: string;
  json?: boolean;
}

const aboutHold = (name: string, description: string) =>
  new Command(name)
    .description(`${description} Who decided it and why stays with the request, as an event.`)
    .argument('<request>', 'the request', uuidArgument('A request'))
    .requiredOption('--id <id>', 'what the processor calls its authorization')
    .option('--processor <name>', 'the processor, where several of the request’s have that id')
    .requiredOption('--by <name>', 'who decided it')
    .requiredOption('--reason <text>', 'why')
    .option('--json', 'print JSON');

/** With --all in the one database that has the request. */
const overShardsOfRequest = <Options extends PersonOptions>(
  command: Command,
  action: (request: string, options: Options) => Promise<void>,
) =>
  overShards<[string], Options>(command, action, {
    choose: shardsOfRequest,
  });

/** `payment-events-db holds requeue`. */
export function requeueCommand(): Command {
  const command = aboutHold(
    'requeue',
    'Has a worker void a hold: one whose void failed, once its cause is repaired, or one that was too old to be voided by itself.',
  );
  return overShardsOfRequest(command, (request, options: PersonOptions) =>
    withDataSource(readConfig(), async (dataSource) => {
      const hold = await find(dataSource, request, options, command);
      const { queued } = await new Holds(dataSource).requeueVoid({ ...hold, by: options.by, reason: options.reason });
      if (options.json) return console.log(JSON.stringify({ queued }));
      console.log(queued ? 'A worker is told to void it.' : 'It is being voided already: nothing was written.');
    }),
  );
}

interface EndOptions extends PersonOptions {
  as: HoldEndState;
  amount?: number;
}

/** `payment-events-db holds end`. */
export function endCommand(): Command {
  const command = aboutHold(
    'end',
    'Writes down how a hold ended, as the processor shows it. It is on no list from then on.',
  )
    .addOption(new Option('--as <end>', 'how it ended').choices([...HOLD_ENDS]).makeOptionMandatory())
    .option('--amount <n>', 'what was captured, voided or given up, in the currency’s minor unit', amountOf);
  return overShardsOfRequest(command, (request, { as: end, amount: amountCents, ...options }: EndOptions) =>
    withDataSource(readConfig(), async (dataSource) => {
      const hold = await find(dataSource, request, options, command);
      const { by, reason } = options;
      const { state } = await new Holds(dataSource).recordEnd({ ...hold, end, amountCents, by, reason });
      if (options.json) return console.log(JSON.stringify({ state }));
      console.log(
        state === end
          ? `It is ${state}.`
          : `It stays ${state}, which counts for more; nobody has to see to it any more.`,
      );
    }),
  );
}

function amountOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 on.');
  return Number(text);
}

/** The hold that is meant, with its restaurant. */
async function find(dataSource: DataSource, request: string, { processor, id }: PersonOptions, command: Command) {
  const holds = await holdsOf(sessionOf(dataSource), request);
  const meant = holds.filter(
    ({ processorAuthId, processorName }) => processorAuthId === id && processorName === (processor ?? processorName),
  );
  const [hold, ...others] = meant;
  if (!hold) throw new HoldNotFoundError(processor ?? '', id);
  if (others.length > 0) command.error('error: several processors have that id: say --processor');
  const { restaurantId, authRequestId, processorName, processorAuthId } = hold;
  return { restaurantId, authRequestId, processorName, processorAuthId };
}
