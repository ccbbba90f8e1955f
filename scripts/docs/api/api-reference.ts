import ts from 'typescript';
import { madeBy, page, table } from '../markdown';
import { allowedIn } from '../rules';
import { Describer } from './describe';
import { docComment } from './doc-comment';
import { describeError } from './errors-page';
import { Links } from './links';
import { membersOf } from './members';
import { PAGES } from './pages';
import { problemsOf } from './problems';
import { type Exported, type PublicApi } from './public-api';

type RulesByClass = ReadonlyMap<string, ReadonlyMap<string, string>>;

const MAIN = 'payment-events-db';
const MADE = madeBy('docs:api', 'the doc comments');

/**
 * The pages of the API, by their paths in docs/reference.
 *
 * @throws Error naming each export that is not documented, and each type that one needs and no consumer can import
 */
export async function apiReference(api: PublicApi): Promise<Map<string, string>> {
  const problems = problemsOf(api);
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const rules = await rulesByClass(api);
  return new Map([
    ['api.md', overview(api)],
    ...PAGES.map(
      ({ name, title }) =>
        [`api/${name}.md`, page(MADE, `# ${title}`, intro(name), ...sections(api, name, rules))] as const,
    ),
  ]);
}

function sections(api: PublicApi, name: string, rules: RulesByClass): string[] {
  const links = new Links(api, name);
  const all = ordered(api, name);
  const onlyModule = all.every(({ module }) => module === all[0]!.module) ? all[0]!.module : MAIN;
  const imports = ({ module }: Exported) => (module === onlyModule ? '' : `From \`${module}\`.`);
  const describer = new Describer(api, links, rules, imports);
  return [
    onlyModule === MAIN ? '' : `All of it is imported from \`${onlyModule}\`.`,
    ...all.map((one) => (api.isError(one.symbol) ? describeError(one, api, links) : describer.section(one))),
  ];
}

/** From the modules that declare them: the entry points export many as types alone. */
async function rulesByClass({ exports }: PublicApi): Promise<RulesByClass> {
  const classes = exports.filter(({ declaration }) => ts.isClassDeclaration(declaration));
  const rules = classes.map(async ({ symbol, name, declaration }) => {
    const source = (await import(declaration.getSourceFile().fileName)) as Record<string, new () => object>;
    return [name, allowedIn(source[symbol.name]!)] as const;
  });
  return new Map(await Promise.all(rules));
}

/** Classes that do something first, then functions, then what these take and give. */
function ordered(api: PublicApi, page: string): Exported[] {
  const rank = (one: Exported) => {
    const { declaration, symbol } = one;
    if (ts.isClassDeclaration(declaration)) return membersOf(one, api.checker).methods.length > 0 ? 0 : 2;
    if (api.checker.getTypeOfSymbol(symbol).getCallSignatures().length > 0) return 1;
    return 3;
  };
  return api.exports.filter((one) => one.page === page).sort((a, b) => rank(a) - rank(b));
}

const intro = (name: string) =>
  name === 'errors'
    ? 'What each class is and carries. What to do about it, and what may be repeated, is on the page of [errors](../errors.md).'
    : '';

function overview(api: PublicApi): string {
  const parts = PAGES.map(({ name, title }) => {
    const rows = ordered(api, name).map((one) => [
      new Links(api, '', 'api/').to(one.name),
      firstSentence(docComment(one.symbol, api.checker).text),
    ]);
    return `## ${title}\n\n${table([`[${title}](api/${name}.md)`, ''], rows)}`;
  });
  return page(
    MADE,
    '# API',
    'All that the package exports. `?` stands behind what may be left out. An optional property that is null or undefined is ' +
      'not given. The column *allowed* has the words in which any other value is refused. Amounts are in the ' +
      "currency's minor unit; names that end in `Ms` are milliseconds.",
    ...parts,
  );
}

/** The point of an initial ends no sentence. */
const firstSentence = (text: string) =>
  (/^[\s\S]*?(?<!\b[A-Z])\.(?=\s|$)/.exec(text)?.[0] ?? text).replace(/\{@link\s+([\w.]+)\s*\}/g, '`$1`');
