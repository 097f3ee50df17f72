/** Keys whose values hold credentials or users' secrets. */
const secretKeys = new Set([
  'services',
  'env',
  'environment',
  'executableUri',
  'credentials',
  'password',
  'VCAP_SERVICES',
]);

/** Real messages are a handful of levels deep; what is deeper is made to exhaust the stack. */
const maximumDepth = 32;

/**
 * A copy of a message that may be logged: secret values are replaced, user and password are cut out of URLs
 * (docs/protocol/dea.md §3). Takes any JSON value, also one made to harm.
 */
export function redact(value: unknown): unknown {
  return redactBelow(value, maximumDepth);
}

function redactBelow(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return withoutUserinfo(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return '<too deep>';
  if (Array.isArray(value)) return value.map((entry) => redactBelow(entry, depth - 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [
      key,
      secretKeys.has(key) ? '<redacted>' : redactBelow(entry, depth - 1),
    ]),
  );
}

/** The pattern starts with fixed letters, so that a long text without them takes linear time. */
function withoutUserinfo(text: string): string {
  return text.replaceAll(/:\/\/[^/?#\s]*@/g, '://');
}
