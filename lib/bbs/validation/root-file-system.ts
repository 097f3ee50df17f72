const scheme = /^[a-zA-Z][a-zA-Z0-9+.-]*:/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: a URL has none
const controlCharacter = /[\u0000-\u001f\u007f]/;
const brokenEscape = /%(?![0-9a-fA-F]{2})/;

/**
 * Whether it is a URL with a scheme, as Go's `url.Parse` sees it: `preloaded:cflinuxfs4`, `docker:///org/app#tag`
 * (docs/protocol/bbs.md §4.2).
 */
export function isRootFileSystem(text: string): boolean {
  if (!scheme.test(text) || controlCharacter.test(text)) return false;
  const rest = text.slice(text.indexOf(':') + 1);
  const [path = '', fragment = ''] = rest.split('#', 2);
  // What does not begin with a slash is opaque, and a query is taken as it is.
  const checked = path.startsWith('/') ? path.split('?', 1)[0]! : '';
  return !brokenEscape.test(checked) && !brokenEscape.test(fragment);
}
