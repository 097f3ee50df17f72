import { type IncomingMessage, request as sendHttpRequest } from 'node:http';

export interface RoutedRequestOptions {
  /** http URL of an app or of a directory server. */
  url: URL;
  /** The router, when there is one to go through: its address is connected to, the URL's host goes into `Host`. */
  router: string | undefined;
  signal: AbortSignal;
  /** Limit for the beginning of the answer. @default 10000 */
  timeoutMs?: number;
}

/**
 * GETs a URL whose host name is known to the router alone: names of apps and directory servers usually have no
 * entry in the domain name system of a development machine.
 */
export function routedRequest(options: RoutedRequestOptions): Promise<IncomingMessage> {
  const { url, router, signal, timeoutMs = 10_000 } = options;
  const peer = router === undefined ? url : new URL(router);
  return new Promise((resolve, reject) => {
    const request = sendHttpRequest({
      host: peer.hostname.replace(/^\[|\]$/g, ''),
      port: peer.port || 80,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host },
      agent: false,
      signal,
    });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.on('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.end();
  });
}
