import { anchorOf, code } from '../markdown';
import { type Exported, type PublicApi } from './public-api';

/** Leads from the text of one page to what the public API has by the names in it. */
export class Links {
  readonly #api: PublicApi;
  readonly #page: string;
  readonly #folder: string;

  /** @param folder where the pages of the API are, seen from this page */
  constructor(api: PublicApi, page: string, folder = '') {
    this.#api = api;
    this.#page = page;
    this.#folder = folder;
  }

  /** A name as a link, or else as code. */
  to(name: string, label = name): string {
    const exported = this.#api.find(name);
    return exported ? `[${code(label)}](${this.#address(exported)})` : code(label);
  }

  /** A comment with its `{@link …}`, and the names that stand in backticks in it, as links. Code blocks stay as they are. */
  inText(text: string): string {
    const paragraphs = text.split(/(^```[\s\S]*?^```$)/m);
    return paragraphs.map((one) => (one.startsWith('```') ? one : this.#inProse(one))).join('');
  }

  /** What `@throws` says: the classes of errors that stand in it, in backticks or not, and when. */
  inThrows(text: string): string {
    const marked = text.replace(/(?<![`\w])(\w+Error)\b(?!`)/g, '`$1`');
    return this.#inProse(marked.replace(/^(`\w+`(?:, `\w+`)*) (?=\S)/, '$1: '));
  }

  /** A type as code, which leads to the first of its names that is exported. */
  inType(text: string): string {
    const known = text.match(/\w+/g)?.find((name) => this.#api.find(name));
    return known ? this.to(known, text) : code(text);
  }

  /** The exported names in a piece of TypeScript, each once. */
  namesIn(text: string): string[] {
    const names = text.match(/(?<!['"\w])[A-Z]\w+(?!['"\w])/g) ?? [];
    return [...new Set(names)].filter((name) => this.#api.find(name));
  }

  #inProse(text: string): string {
    return text
      .replace(/\{@link\s+([\w.]+)\s*\}/g, (_all, name: string) => `\`${name}\``)
      .replace(/`(\w+)`/g, (all, name: string) => (this.#api.find(name) ? this.to(name) : all));
  }

  #address(exported: Exported): string {
    const { page } = exported;
    return `${page === this.#page ? '' : `${this.#folder}${page}.md`}#${anchorOf(this.#api.headingOf(exported))}`;
  }
}
