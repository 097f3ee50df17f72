import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

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

/** The last key that was used, in the form that need not be made anew for each signature. */
let prepared: { key: string; object: KeyObject } | undefined;

/** Hexadecimal HMAC-SHA512. */
export function sign(key: string, text: string): string {
  return digest(key, text).toString('hex');
}

function digest(key: string, text: string): Buffer {
  if (prepared?.key !== key) prepared = { key, object: createSecretKey(key, 'utf8') };
  return createHmac('sha512', prepared.object).update(text).digest();
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
  const verification = verifySignature(key, urlPath, query);
  return verification.result === 'signed' ? verifyAge(verification, nowSeconds) : verification;
}

/** Requests that are remembered; few clients come again and again at the same time. */
const maximumRemembered = 256;
/** Longer URLs are not remembered. */
const maximumLength = 1024;

/** Checks requests as `verifySignedRequest`; of one that comes again the very same, only the age. */
export class RequestVerifier {
  private readonly signed = new Map<string, Signed>();

  constructor(private readonly key: string) {}

  /** @param url raw path and query of the request */
  verify(url: string, urlPath: string, query: string, nowSeconds: number): Verification {
    const known = this.signed.get(url);
    if (known) return verifyAge(known, nowSeconds);
    const verification = verifySignature(this.key, urlPath, query);
    if (verification.result !== 'signed') return verification;
    if (this.signed.size >= maximumRemembered) this.signed.clear();
    if (url.length <= maximumLength) this.signed.set(url, verification);
    return verifyAge(verification, nowSeconds);
  }
}

/** A request whose signature is good, whatever its age. */
interface Signed {
  result: 'signed';
  path: string;
  timestamp: number;
}

function verifySignature(
  key: string,
  urlPath: string,
  query: string,
): Exclude<Verification, { result: 'ok' }> | Signed {
  const parameters = decodeQuery(query);
  const names = ['hmac', 'timestamp', 'path'].filter((name) => !parameters.has(name));
  if (names.length > 0) return { result: 'missing', names };

  const timestamp = parameters.get('timestamp') ?? '';
  if (timestamp !== '' && !/^[+-]?\d{1,15}$/.test(timestamp)) return { result: 'invalid-timestamp' };

  const path = parameters.get('path') ?? '';
  // Proxies turn the bare name into `path=`, and both mean the root.
  const spellings = path === '' ? [null, ''] : [path];
  const hmac = parameters.get('hmac') ?? '';
  const isSigned = spellings.map((spelling) => isSignature(hmac, key, canonicalText(urlPath, spelling, timestamp)));
  if (timestamp === '' || !isSigned.includes(true)) return { result: 'invalid-hmac' };
  return { result: 'signed', path, timestamp: Number(timestamp) };
}

function verifyAge({ path, timestamp }: Signed, nowSeconds: number): Verification {
  const ageSeconds = nowSeconds - timestamp;
  if (ageSeconds > lifetimeSeconds) return { result: 'expired' };
  if (ageSeconds < -toleranceSeconds) return { result: 'future' };
  return { result: 'ok', path };
}

/** Whether a text is the lower-case hexadecimal HMAC of another one. */
function isSignature(given: string, key: string, text: string): boolean {
  const expected = digest(key, text);
  return /^[0-9a-f]{128}$/.test(given) && timingSafeEqual(Buffer.from(given, 'hex'), expected);
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
    const equals = part.indexOf('=');
    if (equals < 0) parameters.set(formDecoded(part), null);
    else parameters.set(formDecoded(part.slice(0, equals)), formDecoded(part.slice(equals + 1)));
  }
  return parameters;
}

/** Form decoding; most texts mean what they say. */
function formDecoded(text: string): string {
  if (/^[\w./-]*$/.test(text)) return text;
  return new URLSearchParams(`=${text}`).get('') ?? '';
}
