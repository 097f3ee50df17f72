/** An answer that the router gives itself (docs/protocol/edge.md §1.5, §1.6). */
export class RouterFailure extends Error {
  constructor(
    readonly status: number,
    /** Value of `X-Cf-RouterError`; empty: the header is left out. */
    readonly reason: string,
    readonly body: string,
    readonly headers: Record<string, string> = {},
  ) {
    super(reason || body);
  }
}

const uncached = { 'Cache-Control': 'no-cache, no-store' };

export const failures = {
  emptyHost: () =>
    new RouterFailure(400, 'empty_host', '400 Bad Request: Request had empty Host header\n', {
      'Cache-Control': 'public,max-age=2',
    }),
  unknownRoute: (host: string) =>
    new RouterFailure(404, 'unknown_route', `404 Not Found: Requested route ('${host}') does not exist.\n`, uncached),
  invalidAppInstance: () =>
    new RouterFailure(
      400,
      'invalid_cf_app_instance_header',
      '400 Bad Request: Invalid X-CF-App-Instance Header\n',
      uncached,
    ),
  unknownAppInstance: (index: string, app: string, host: string) =>
    new RouterFailure(
      400,
      'unknown_route',
      `400 Bad Request: Requested instance ('${index}') with guid ('${app}') does not exist for route ('${host}')\n`,
      uncached,
    ),
  routeServiceUnsupported: () =>
    new RouterFailure(502, 'route_service_unsupported', '502 Bad Gateway: Support for route services is disabled.\n'),
  upgradeUnsupported: () => new RouterFailure(502, '', ''),
};

/** Codes of certificates that no known authority vouches for. */
const untrustedCodes = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
]);

/** What the client is told when the last attempt at an endpoint failed. */
export function endpointFailure(error: NodeJS.ErrnoException): RouterFailure {
  const reason = `endpoint_failure (${error.message.replaceAll(/[\r\n]/g, ' ')})`;
  const code = error.code ?? '';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return new RouterFailure(503, reason, '503 Service Unavailable\n');
  if (untrustedCodes.has(code)) return new RouterFailure(526, reason, '526 Invalid SSL Certificate\n');
  if (/CERTIFICATE_REQUIRED/.test(code)) return new RouterFailure(496, reason, '496 SSL Certificate Required\n');
  if (/^(ERR_SSL|EPROTO)/.test(code)) return new RouterFailure(525, reason, '525 SSL Handshake Failed\n');
  return new RouterFailure(502, reason, '502 Bad Gateway: Registered endpoint failed to handle the request.\n');
}
