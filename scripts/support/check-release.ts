/** What a release is made from. */
export interface Release {
  /** Such as `v1.2.0`. */
  readonly tag: string;
  readonly manifest: { readonly version: string; readonly repository?: unknown };
  readonly changelog: string;
}

/** What is missing or wrong, each with what to do; empty where it may be published. */
export function problemsOfRelease({ tag, manifest: { version, repository }, changelog }: Release): string[] {
  const problems: string[] = [];
  if (tag !== `v${version}`) {
    problems.push(`The tag is ${tag}, and package.json has version ${version}: the tag must be v${version}.`);
  }
  const section = new RegExp(`^## \\[${version.replaceAll('.', '\\.')}\\] - \\d{4}-\\d{2}-\\d{2}$`, 'm');
  if (!section.test(changelog)) {
    problems.push(
      `CHANGELOG.md has no section "## [${version}] - <date>": give what is under "Unreleased" that heading.`,
    );
  }
  const url = typeof repository === 'object' ? (repository as { url?: unknown } | null)?.url : repository;
  if (typeof url !== 'string' || url === '') {
    problems.push('package.json has no repository: npm makes no provenance without. Name the one that is built from.');
  }
  return problems;
}
