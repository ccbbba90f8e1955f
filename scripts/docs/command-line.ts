import { type Command, type Option } from 'commander';
import { EXIT_CODES } from '../../src/cli/exit-codes';
import { createProgram } from '../../src/cli/program';
import { anchorOf, code, codeBlock, madeBy, page, table } from './markdown';

/** The page of the command line, by its path in docs/reference. */
export function commandLineReference(): Map<string, string> {
  const program = createProgram();
  const commands = program.commands.flatMap((command) => withSubcommands(command));
  return new Map([
    [
      'command-line.md',
      page(
        madeBy('docs:cli', 'the commands themselves'),
        '# Command line',
        codeBlock(`npx ${program.name()} <command> [options]`, 'text'),
        INTRO,
        table(['command', 'what it does'], commands.filter(isRun).map(inOverview)),
        '## Output and exit codes',
        OUTPUT,
        table(['exit code', 'meaning'], Object.entries(EXIT_CODES)),
        ...commands.map(section),
      ),
    ],
  ]);
}

const INTRO = `Looks after the database of \`DATABASE_URL\`; the other variables that count are in [settings](settings.md). Each command
takes \`--help\` besides.`;

const OUTPUT = `Results go to standard output, all else to standard error. With \`--json\` the results are JSON, in which numbers beyond 2^53
and infinite times are strings; where a command fails, the last line of standard error says why:

\`\`\`json
{"error":{"code":"28P01","message":"…","exitCode":3}}
\`\`\``;

interface Named {
  /** The words that call it, such as `outbox failed`. */
  readonly words: string;
  readonly command: Command;
}

function withSubcommands(command: Command, words = ''): Named[] {
  const called = `${words} ${command.name()}`.trim();
  return [{ words: called, command }, ...command.commands.flatMap((inner) => withSubcommands(inner, called))];
}

/** A group of commands does nothing by itself. */
const isRun = ({ command }: Named) => command.commands.length === 0;

const inOverview = ({ words, command }: Named) => [
  `[${code(words)}](#${anchorOf(words)})`,
  /^.*?[.:](?=\s|$)/.exec(command.description())![0].replace(/:$/, '.'),
];

function section({ words, command }: Named): string {
  const usage = command.createHelp().commandUsage(command);
  const args = command.registeredArguments.map((one) => [
    code(`${one.required ? '<' : '['}${one.name()}${one.variadic ? '...' : ''}${one.required ? '>' : ']'}`),
    one.description,
  ]);
  return [
    `## ${words}`,
    isRun({ words, command }) ? codeBlock(usage, 'text') : '',
    command.description(),
    args.length > 0 ? table(['argument', 'meaning'], args) : '',
    command.options.length > 0 ? table(['option', 'default', 'meaning'], command.options.map(inTable)) : '',
  ]
    .filter(Boolean)
    .join('\n\n');
}

function inTable(option: Option): string[] {
  const given = option.defaultValue as string | number | undefined;
  const fallback = option.defaultValueDescription ?? (given === undefined ? '' : code(String(given)));
  return [code(option.flags), option.mandatory ? 'must be given' : fallback, option.description];
}
