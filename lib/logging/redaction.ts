/** Keys whose values hold credentials or users' secrets. */
const secretKeys = new Set([
  'services',
  'env',
  'environment',
  'environment_json',
  'running_env_json',
  'staging_env_json',
  'executableUri',
  'executable_uri',
  'droplet_uri',
  'dropletUri',
  'credentials',
  'password',
  'shared_secret',
  'VCAP_SERVICES',
]);

/** Real messages are a handful of levels deep; what is deeper is made to exhaust the stack. */
const maximumDepth = 32;

/**
 * A copy of a message that may be logged: secret values are replaced, user and password are cut out of URLs
 * (docs/protocol/dea.md §3). Takes any value, also one made to harm, and gives one that JSON can hold.
 */
export function redact(value: unknown): unknown {
  return redactBelow(value, maximumDepth);
}

function redactBelow(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return '<too deep>';
  if (Array.isArray(value)) return value.map((entry) => redactBelow(entry, depth - 1));
  if (value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [
      key,
      secretKeys.has(key) ? '<redacted>' : redactBelow(entry, depth - 1),
    ]),
  );
}

/**
 * A text without the credentials of the URLs in it: user and password, and signatures of blob stores and file servers.
 * The patterns start with fixed letters, so that a long text without them takes linear time.
 */
export function redactText(text: string): string {
  return text
    .replaceAll(/:\/\/[^/?#\s]*@/g, '://')
    .replaceAll(
      /([?&](?:X-Amz-[A-Za-z]+|Signature|AWSAccessKeyId|sig|hmac|token|password|secret)=)[^&#\s"']*/gi,
      '$1<redacted>',
    );
}
