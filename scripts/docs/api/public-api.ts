import { join, relative } from 'node:path';
import ts from 'typescript';
import manifest from '../../../package.json';
import { pageOf } from './pages';

const ROOT = join(__dirname, '../../..');

/** What a consumer can import by name. */
export interface Exported {
  readonly name: string;
  /** From where: `payment-events-db`, `payment-events-db/testing` and so on. */
  readonly module: string;
  readonly symbol: ts.Symbol;
  readonly declaration: ts.Declaration;
  /** The page that has it, without `.md`. */
  readonly page: string;
}

/** All that the entry points of package.json export, with the types that the compiler knows. */
export class PublicApi {
  readonly checker: ts.TypeChecker;
  readonly exports: readonly Exported[];
  readonly #bySymbol: ReadonlyMap<ts.Symbol, Exported>;
  readonly #byName: ReadonlyMap<string, Exported>;

  constructor() {
    const entries = entryPoints();
    const program = createProgram(entries.map(({ file }) => file));
    this.checker = program.getTypeChecker();
    this.exports = entries.flatMap(({ module, file }) => {
      const entry = this.checker.getSymbolAtLocation(program.getSourceFile(file)!)!;
      return this.checker.getExportsOfModule(entry).map((symbol) => this.#toExported(symbol, module));
    });
    this.#bySymbol = new Map(this.exports.map((one) => [one.symbol, one]));
    this.#byName = new Map(this.exports.map((one) => [one.name, one]));
  }

  find(name: string): Exported | undefined {
    return this.#byName.get(name);
  }

  /** Anchors do not tell a type `Stamp` from a function `stamp`. */
  headingOf({ name }: Exported): string {
    const isTwice = this.exports.some(
      (other) => other.name !== name && other.name.toLowerCase() === name.toLowerCase(),
    );
    return isTwice && /^[A-Z]/.test(name) ? `${name} (type)` : name;
  }

  isExported(symbol: ts.Symbol): boolean {
    return this.#bySymbol.has(symbol);
  }

  /** Whether it is of this package, and not of TypeScript, Node or a dependency. */
  static isOurs(node: ts.Node): boolean {
    return sourceOf(node).startsWith('src/');
  }

  #toExported(exported: ts.Symbol, module: string): Exported {
    const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0;
    const symbol = isAlias ? this.checker.getAliasedSymbol(exported) : exported;
    const declaration = symbol.declarations![0]!;
    const { name } = exported;
    const page = this.isError(symbol) ? 'errors' : pageOf(sourceOf(declaration));
    return { name, module, symbol, declaration, page };
  }

  isOptional(property: ts.Symbol): boolean {
    return (property.flags & ts.SymbolFlags.Optional) !== 0;
  }

  /** Whether it is a class of errors. */
  isError(symbol: ts.Symbol): boolean {
    if (!(symbol.flags & ts.SymbolFlags.Class)) return false;
    return this.checker.getDeclaredTypeOfSymbol(symbol).getProperty('stack') !== undefined;
  }
}

const sourceOf = (node: ts.Node) => relative(ROOT, node.getSourceFile().fileName);

function entryPoints(): { module: string; file: string }[] {
  return Object.entries(manifest.exports).flatMap(([path, target]) =>
    typeof target === 'string'
      ? []
      : [
          {
            module: join(manifest.name, path),
            file: join(ROOT, target.default.replace('./dist/', '').replace(/\.js$/, '.ts')),
          },
        ],
  );
}

function createProgram(files: string[]): ts.Program {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  return ts.createProgram(files, options);
}
