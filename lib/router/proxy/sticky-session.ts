import type { Endpoint } from '../messages.js';

const stickyCookie = '__VCAP_ID__';

export interface StickyCookieOptions {
  /** Names of the apps' session cookies. */
  sessionCookieNames: string[];
  /** Marks the cookie `Secure` though the app's is not. */
  isAlwaysSecure: boolean;
}

/** The instance that a client's session belongs to, if its cookies name one (docs/protocol/edge.md §1.5). */
export function stickyInstanceId(cookieHeader: string | undefined, sessionCookieNames: string[]): string | undefined {
  const cookies = new Map<string, string>();
  for (const part of (cookieHeader ?? '').split(';')) {
    const position = part.indexOf('=');
    if (position >= 0) cookies.set(part.slice(0, position).trim(), part.slice(position + 1).trim());
  }
  return sessionCookieNames.some((name) => cookies.has(name)) ? cookies.get(stickyCookie) : undefined;
}

/**
 * The cookie that binds a client to the instance that answered; undefined when there is nothing to bind.
 *
 * @param setCookies the app's own `Set-Cookie` headers
 * @param asked the instance that the client's cookies named
 */
export function stickyCookieFor(
  setCookies: string[],
  asked: string | undefined,
  endpoint: Endpoint,
  contextPath: string,
  { sessionCookieNames, isAlwaysSecure }: StickyCookieOptions,
): string | undefined {
  const given = (name: string) => setCookies.find((cookie) => cookie.trimStart().startsWith(`${name}=`));
  if (endpoint.instanceId === '' || given(stickyCookie) !== undefined) return undefined;
  const session = sessionCookieNames.map(given).find((cookie) => cookie !== undefined);
  const hasMoved = asked !== undefined && asked !== endpoint.instanceId;
  if (session === undefined && !hasMoved) return undefined;
  const of = attributesOf(session ?? '');
  return [
    `${stickyCookie}=${endpoint.instanceId}`,
    `Path=${contextPath}`,
    ...(of.has('expires') ? [`Expires=${of.get('expires')}`] : []),
    // The session is being ended; so is what binds it.
    ...(Number(of.get('max-age') ?? 1) <= 0 ? ['Max-Age=0'] : []),
    'HttpOnly',
    ...(of.has('secure') || isAlwaysSecure ? ['Secure'] : []),
    ...(of.has('samesite') ? [`SameSite=${of.get('samesite')}`] : []),
    ...(of.has('partitioned') ? ['Partitioned'] : []),
  ].join('; ');
}

/** Attributes of a `Set-Cookie` header, names in lower case. */
function attributesOf(cookie: string): Map<string, string> {
  return new Map(
    cookie
      .split(';')
      .slice(1)
      .map((attribute) => {
        const [name = '', ...value] = attribute.split('=');
        return [name.trim().toLowerCase(), value.join('=').trim()];
      }),
  );
}
