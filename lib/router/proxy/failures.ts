import type { Endpoint } from '../messages.js';
import { addressOf } from '../pool.js';
import { DialError } from './dial.js';

/** An answer that the router gives itself (docs/protocol/edge.md §1.5, §1.6). */
export class RouterFailure extends Error {
  constructor(
    readonly status: number,
    /** Value of `X-Cf-RouterError`; empty: the header is left out. */
    readonly reason: string,
    readonly body: string,
    readonly headers: Record<string, string> = {},
  ) {
    super(reason || `${status}`);
  }
}

const uncached = { 'Cache-Control': 'no-cache, no-store' };

/** Requests that are not forwarded. `host` is the request's `Host` as it came. */
export const refusals = {
  emptyHost: () =>
    new RouterFailure(400, 'empty_host', '400 Bad Request: Request had empty Host header\n', {
      'Cache-Control': 'public,max-age=2',
    }),
  unknownRoute: (host: string) =>
    new RouterFailure(404, 'unknown_route', `404 Not Found: Requested route ('${host}') does not exist.\n`, uncached),
  noEndpoints: (host: string) =>
    new RouterFailure(
      503,
      'no_endpoints',
      `503 Service Unavailable: Requested route ('${host}') has no available endpoints.\n`,
      uncached,
    ),
  connectionLimit: () => new RouterFailure(503, 'Connection Limit Reached', '503 Service Unavailable\n'),
  invalidInstance: (header: 'App' | 'Process') =>
    new RouterFailure(
      400,
      `invalid_cf_${header.toLowerCase()}_instance_header`,
      `400 Bad Request: Invalid X-CF-${header}-Instance Header\n`,
      uncached,
    ),
  unknownInstance: (index: string, guid: string, host: string) =>
    new RouterFailure(
      400,
      'unknown_route',
      `400 Bad Request: Requested instance ('${index}') with guid ('${guid}') does not exist for route ('${host}')\n`,
      uncached,
    ),
  routeServiceUnsupported: () =>
    new RouterFailure(502, 'route_service_unsupported', '502 Bad Gateway: Support for route services is disabled.\n'),
  routeServiceForWebSocket: () =>
    new RouterFailure(
      503,
      'route_service_unsupported',
      '503 Service Unavailable: Websocket requests are not supported for routes bound to Route Services.\n',
    ),
  upgradeUnsupported: () => new RouterFailure(502, '', ''),
  chunkedUpgrade: () =>
    new RouterFailure(501, '', '501 Not Implemented: Upgrade requests cannot have a chunked body.\n'),
};

/** The client left before there was an answer. */
export class ClientGoneError extends Error {}

/** The endpoint took too long for the whole exchange. */
export class DeadlineError extends Error {}

/** What a failed attempt means (docs/protocol/edge.md §1.6). */
export interface AttemptFault {
  /** Whether another endpoint may be tried: only when no byte of the request can have had an effect. */
  isRepeatable: boolean;
  /** What becomes of the endpoint: left out for a time, or removed. */
  effect: 'none' | 'mark' | 'prune';
  /** What the client is told when this was the last attempt. */
  failure: RouterFailure;
}

export interface AttemptCircumstances {
  endpoint: Endpoint;
  /** The router's end of the connection; undefined when there was none. */
  localAddress: string | undefined;
  /** The same request twice does what it does once. */
  isIdempotent: boolean;
  /** Parts of the request's body were given away, and cannot be given to another endpoint. */
  isBodyTaken: boolean;
}

/** Codes of certificates that no known authority vouches for. */
const untrustedCodes = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_UNTRUSTED',
  'CERT_REVOKED',
  'INVALID_CA',
  'INVALID_PURPOSE',
]);

/** An endpoint that speaks TLS 1.3 refuses the handshake after the router takes it for done. */
const lateAlerts = /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE)$/;

const badGateway = '502 Bad Gateway: Registered endpoint failed to handle the request.\n';

/** Judges why an endpoint gave no answer. Pure. */
export function judgeAttempt(error: unknown, circumstances: AttemptCircumstances): AttemptFault {
  const { endpoint, isIdempotent, isBodyTaken } = circumstances;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const fault = (isRepeatable: boolean, effect: AttemptFault['effect'], status = 502, body = badGateway) => ({
    isRepeatable,
    effect,
    failure: new RouterFailure(status, `endpoint_failure (${describe(error, circumstances)})`, body),
  });
  if (error instanceof ClientGoneError || code === 'ABORT_ERR') {
    return fault(false, 'none', 499, '499 Request Cancelled\n');
  }
  if (error instanceof DeadlineError) return fault(false, 'none');
  if (endpoint.isTls && (error instanceof DialError || lateAlerts.test(code))) {
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return fault(true, 'prune', 503, '503 Service Unavailable\n');
    if (untrustedCodes.has(code)) return fault(true, 'prune', 526, '526 Invalid SSL Certificate\n');
    // No app has seen the request; but what was sent of its body is lost.
    if (/ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE)$/.test(code)) {
      return fault(!isBodyTaken, 'prune', 496, '496 SSL Certificate Required\n');
    }
    if (/^(ERR_SSL_|EPROTO)/.test(code)) return fault(!isBodyTaken, 'prune', 525, '525 SSL Handshake Failed\n');
  }
  if (error instanceof DialError) return fault(true, endpoint.isTls ? 'prune' : 'mark');
  if (isEndOfFile(error)) return fault(isIdempotent, 'none');
  if (code === 'EPIPE') return fault(isIdempotent, 'none');
  if (code === 'ECONNRESET') return fault(false, 'mark');
  return fault(false, 'none');
}

/** Node tells an orderly end before the answer as a reset that no system call reported. */
function isEndOfFile(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' && syscall === undefined;
}

/** The words of upstream's router, where tools look for them; fit for a header. */
function describe(error: unknown, { endpoint, localAddress }: AttemptCircumstances): string {
  const address = addressOf(endpoint);
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (error instanceof ClientGoneError) return 'context canceled';
  if (error instanceof DeadlineError) return 'context deadline exceeded';
  if (error instanceof DialError && error.phase === 'connect') return `dial tcp ${address}: ${dialWords(error)}`;
  if (code === 'ETIMEDOUT') return 'net/http: TLS handshake timeout';
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/.test(code)) {
    return 'tls: first record does not look like a TLS handshake';
  }
  if (isEndOfFile(error)) return 'EOF';
  if (code === 'ECONNRESET') return `read tcp ${localAddress}->${address}: read: connection reset by peer`;
  if (code === 'EPIPE') return `write tcp ${localAddress}->${address}: write: broken pipe`;
  if (code.startsWith('HPE_')) return 'malformed HTTP response';
  return message.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 500);
}

function dialWords(error: DialError): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'connect: connection refused';
    case 'ETIMEDOUT':
      return 'i/o timeout';
    case 'EHOSTUNREACH':
      return 'connect: no route to host';
    case 'ENETUNREACH':
      return 'connect: network is unreachable';
    case 'ECONNRESET':
      return 'connect: connection reset by peer';
    case 'ENOTFOUND':
      return 'lookup: no such host';
    default:
      return error.message.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 500);
  }
}
