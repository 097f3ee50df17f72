import type { Endpoint } from './messages.js';

const sessionCookie = 'JSESSIONID';
const stickyCookie = '__VCAP_ID__';

/** The instance that a client's session belongs to, if its cookies name one (docs/protocol/edge.md §1.5). */
export function stickyInstanceId(cookieHeader: string | undefined): string | undefined {
  const cookies = new Map(
    (cookieHeader ?? '').split(';').map((part) => {
      const position = part.indexOf('=');
      return [part.slice(0, position).trim(), part.slice(position + 1).trim()] as const;
    }),
  );
  return cookies.has(sessionCookie) ? cookies.get(stickyCookie) : undefined;
}

/**
 * The cookie that binds a client to the instance that answered; undefined when there is nothing to bind.
 * @param setCookies the app's own `Set-Cookie` headers
 * @param asked the instance that the client's cookies named
 */
export function stickyCookieFor(
  setCookies: string[],
  asked: string | undefined,
  endpoint: Endpoint,
  contextPath: string,
): string | undefined {
  const isNamed = (name: string) => setCookies.find((cookie) => cookie.trimStart().startsWith(`${name}=`));
  if (endpoint.instanceId === '' || isNamed(stickyCookie)) return undefined;
  const session = isNamed(sessionCookie);
  if (!session && (asked === undefined || asked === endpoint.instanceId)) return undefined;
  const attributes = (session ?? '')
    .split(';')
    .slice(1)
    .map((attribute) => attribute.trim());
  const copied = attributes.filter((attribute) =>
    /^(secure|samesite=|expires=|partitioned|max-age=-)/i.test(attribute),
  );
  return [`${stickyCookie}=${endpoint.instanceId}`, `Path=${contextPath}`, 'HttpOnly', ...copied].join('; ');
}
