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

/**
 * A copy of a message that may be logged: secret values are replaced, user and password are cut out of URLs
 * (docs/protocol/dea.md §3).
 */
export function redact(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s]*@/gi, '$1');
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [key, secretKeys.has(key) ? '<redacted>' : redact(entry)]),
  );
}
