import type { Endpoint } from '../messages.js';
import { addressOf } from '../pool.js';
import type { Passage } from './passage.js';

export interface HeaderRules {
  /** Ignores what the client says of the protocol it used. */
  sanitizeForwardedProto: boolean;
  /** Says `https` for every request: something in front of the router ends TLS. */
  forceForwardedProtoHttps: boolean;
  /** What becomes of `X-Forwarded-Client-Cert`. Only `always_forward` keeps it: no client shows a certificate here. */
  forwardedClientCert: 'always_forward' | 'forward' | 'sanitize_set';
}

/** Headers of one connection, not of the request (RFC 7230 §6.1). */
const hopByHop = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Set by the router, or meant for it. */
const replaced = new Set([
  'host',
  'x-vcap-request-id',
  'x-cf-applicationid',
  'x-cf-instanceid',
  'x-cf-instanceindex',
  'x-cf-app-instance',
  'x-cf-process-instance',
  'x-forwarded-for',
  'x-forwarded-proto',
]);

const methodsWithoutBody = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'DELETE']);

/**
 * Headers that an app sees, name and value in turn, in the client's order and spelling
 * (docs/protocol/edge.md §1.5).
 *
 * @param asksUpgrade whether the wish for another protocol is passed on
 */
export function headersForApp(
  passage: Passage,
  endpoint: Endpoint,
  { rules, asksUpgrade }: { rules: HeaderRules; asksUpgrade: boolean },
): string[] {
  const { request } = passage;
  const { headers, rawHeaders } = request;
  const dropped = droppedNames(headers.connection);
  if (rules.forwardedClientCert !== 'always_forward') dropped.add('x-forwarded-client-cert');
  const kept = ['Host', passage.host, ...withoutNames(rawHeaders, (name) => dropped.has(name) || replaced.has(name))];
  const { clientIp, requestId } = passage;
  passage.forwardedFor = [headers['x-forwarded-for'], clientIp].flat().filter(Boolean).join(', ');
  passage.forwardedProto = forwardedProto([headers['x-forwarded-proto']].flat()[0], rules);
  kept.push(
    ...['X-Forwarded-For', passage.forwardedFor],
    ...['X-Forwarded-Proto', passage.forwardedProto],
    ...['X-Vcap-Request-Id', requestId],
    ...['X-CF-ApplicationID', endpoint.app],
    ...['X-CF-InstanceIndex', endpoint.instanceIndex],
    ...['X-CF-InstanceID', endpoint.instanceId || addressOf(endpoint)],
  );
  if (headers['x-request-start'] === undefined) kept.push('X-Request-Start', String(Date.now()));
  if (headers['transfer-encoding'] !== undefined) kept.push('Transfer-Encoding', headers['transfer-encoding']);
  else if (headers['content-length'] === undefined && !methodsWithoutBody.has(request.method!)) {
    // Without it, the library would announce a chunked body where there is none.
    kept.push('Content-Length', '0');
  }
  if (asksUpgrade) kept.push('Connection', 'Upgrade', 'Upgrade', headers.upgrade!);
  else kept.push('Connection', 'close');
  return kept;
}

/** Headers of an app's answer that go on to the client, name and value in turn. */
export function headersForClient(rawHeaders: string[], connection: string | undefined): string[] {
  const dropped = droppedNames(connection);
  return withoutNames(rawHeaders, (name) => dropped.has(name) || name === 'x-cf-proxy-signature');
}

/** Values of a header in a flat list, any case. */
export function valuesOf(flat: string[], name: string): string[] {
  return flat.filter((_, position) => position % 2 === 1 && flat[position - 1]!.toLowerCase() === name);
}

/** What belongs to one connection: the known names and those that `Connection` lists. */
function droppedNames(connection: string | undefined): Set<string> {
  const listed = (connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const names = new Set([...hopByHop, ...listed]);
  // Without its length, a body would be taken for the next request.
  names.delete('content-length');
  return names;
}

function withoutNames(flat: string[], isDropped: (lowerCaseName: string) => boolean): string[] {
  const kept: string[] = [];
  for (let position = 0; position < flat.length; position += 2) {
    if (!isDropped(flat[position]!.toLowerCase())) kept.push(flat[position]!, flat[position + 1]!);
  }
  return kept;
}

function forwardedProto(given: string | undefined, rules: HeaderRules): string {
  if (rules.forceForwardedProtoHttps) return 'https';
  return given !== undefined && !rules.sanitizeForwardedProto ? given : 'http';
}
