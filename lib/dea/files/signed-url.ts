import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a signed URL grants: one path, for a while. */
export interface SignedUrlOptions {
  /** `http` or `https`. */
  protocol: string;
  /** Host and, where routers do not listen on the scheme's own port, the port. */
  host: string;
  /** The key's characters, not the bytes they may stand for. */
  key: string;
  /** Path of the URL as it will be requested, percent-encoded. */
  urlPath: string;
  /** File that the URL is for; null is the root. */
  filePath: string | null;
  /** Unix seconds. */
  timestamp: number;
}

/** How a signed request turned out. */
export type Verification =
  | { result: 'missing'; names: string[] }
  | { result: 'invalid-timestamp' | 'invalid-hmac' | 'expired' | 'future' }
  /** `path` is empty for the root. */
  | { result: 'ok'; path: string };

/** Seconds that a URL is good for. */
const lifetimeSeconds = 3600;
/** Seconds that the clock of whoever signed may be ahead. */
const toleranceSeconds = 60;

/** Hexadecimal HMAC-SHA512. */
export function sign(key: string, text: string): string {
  return createHmac('sha512', key).update(text).digest('hex');
}

/**
 * The text that is signed: the path and, of all parameters, only `path` and `timestamp`. A null path is the bare name
 * without `=` (docs/protocol/dea.md §20.2).
 */
export function canonicalText(urlPath: string, filePath: string | null, timestamp: string): string {
  const parameters: [string, string | null][] = [
    ['path', filePath],
    ['timestamp', timestamp],
  ];
  return `${urlPath}?${encodeQuery(parameters)}`;
}

/** A URL under which the directory server serves a file for an hour. */
export function signedUrl({ protocol, host, key, urlPath, filePath, timestamp }: SignedUrlOptions): string {
  const hmac = sign(key, canonicalText(urlPath, filePath, String(timestamp)));
  const query = encodeQuery([
    ['hmac', hmac],
    ['path', filePath],
    ['timestamp', String(timestamp)],
  ]);
  return `${protocol}://${host}${urlPath}?${query}`;
}

/**
 * Checks a request in the order of docs/protocol/dea.md §20.3: names, timestamp, signature, age.
 *
 * @param urlPath the raw path of the request
 * @param query its raw query, without `?`
 * @param nowSeconds Unix seconds
 */
export function verifySignedRequest(key: string, urlPath: string, query: string, nowSeconds: number): Verification {
  const parameters = decodeQuery(query);
  const names = ['hmac', 'timestamp', 'path'].filter((name) => !parameters.has(name));
  if (names.length > 0) return { result: 'missing', names };

  const timestamp = parameters.get('timestamp') ?? '';
  if (timestamp !== '' && !/^[+-]?\d{1,15}$/.test(timestamp)) return { result: 'invalid-timestamp' };

  const path = parameters.get('path') ?? '';
  // Proxies turn the bare name into `path=`, and both mean the root.
  const spellings = path === '' ? [null, ''] : [path];
  const hmac = parameters.get('hmac') ?? '';
  const isSigned = spellings.map((spelling) => matches(hmac, sign(key, canonicalText(urlPath, spelling, timestamp))));
  if (timestamp === '' || !isSigned.includes(true)) return { result: 'invalid-hmac' };

  const ageSeconds = nowSeconds - Number(timestamp);
  if (ageSeconds > lifetimeSeconds) return { result: 'expired' };
  if (ageSeconds < -toleranceSeconds) return { result: 'future' };
  return { result: 'ok', path };
}

function matches(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Form encoding; a null value leaves the bare name. */
function encodeQuery(parameters: [string, string | null][]): string {
  return parameters
    .map(([name, value]) => (value === null ? name : new URLSearchParams([[name, value]]).toString()))
    .join('&');
}

/** A name that comes twice has its last value, as with the original agent; a bare name has null. */
function decodeQuery(query: string): Map<string, string | null> {
  const parameters = new Map<string, string | null>();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const [[name, value] = ['', '']] = [...new URLSearchParams(`&${part}`)];
    parameters.set(name, part.includes('=') ? value : null);
  }
  return parameters;
}
