/** Whether a path is left out of a package. `path` is relative, with `/`. */
export type IgnoreRules = (path: string, isDirectory: boolean) => boolean;

interface Rule {
  pattern: RegExp;
  /** A line that begins with `!` takes back what those before it left out. */
  takesBack: boolean;
  directoriesOnly: boolean;
}

/** What is never part of an app: version control, this file itself and what editors and systems drop. */
const always = ['.cfignore', '/manifest.yml', '.git', '.hg', '.svn', '_darcs', '.DS_Store', '.gitignore'];

/**
 * Rules of a `.cfignore` file; its lines are those of a `.gitignore`: `*`, `?`, `[..]` within a name, `**` across
 * directories, a leading or inner `/` ties a pattern to the top, a trailing one means directories, `!` takes back,
 * `#` begins a comment. The last rule that fits decides.
 */
export function parseIgnoreRules(text: string): IgnoreRules {
  const lines = [...always, ...text.split(/\r?\n/)];
  const rules = lines.map(parseRule).filter((rule) => rule !== undefined);
  return (path, isDirectory) => {
    const deciding = rules.findLast((rule) => (isDirectory || !rule.directoriesOnly) && rule.pattern.test(path));
    return deciding !== undefined && !deciding.takesBack;
  };
}

function parseRule(line: string): Rule | undefined {
  const text = line.replace(/(?<!\\)\s+$/, '');
  if (text === '' || text.startsWith('#')) return undefined;
  const takesBack = text.startsWith('!');
  const body = takesBack ? text.slice(1) : text;
  const directoriesOnly = body.endsWith('/');
  const path = directoriesOnly ? body.slice(0, -1) : body;
  const isTied = path.includes('/');
  const source = globSource(path.replace(/^\//, ''));
  return { pattern: new RegExp(`^${isTied ? '' : '(?:.*/)?'}${source}$`), takesBack, directoriesOnly };
}

const globToken = /\*\*\/|\/\*\*$|\*\*|\*|\?|\[[^\]/]+\]|\\.|[\s\S]/g;

/** The pattern as the source of a regular expression. */
function globSource(glob: string): string {
  return [...glob.matchAll(globToken)].map(([token]) => tokenSource(token)).join('');
}

function tokenSource(token: string): string {
  if (token === '**/') return '(?:.*/)?';
  if (token === '/**') return '/.*';
  if (token === '**') return '.*';
  if (token === '*') return '[^/]*';
  if (token === '?') return '[^/]';
  if (token.length > 2 && token.startsWith('[')) {
    const inner = token.slice(1, -1).replace(/^!/, '^').replaceAll('\\', '\\\\');
    return `[${inner}]`;
  }
  const character = token.startsWith('\\') && token.length === 2 ? token[1]! : token;
  return character.replace(/[$()*+.?[\\\]^{|}/]/g, '\\$&');
}
