import type { IncomingMessage } from 'node:http';
import type { Endpoint } from './messages.js';

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
  'x-vcap-request-id',
  'x-cf-applicationid',
  'x-cf-instanceid',
  'x-cf-instanceindex',
  'x-cf-app-instance',
  'x-forwarded-for',
]);

/** Flat name and value list of the headers that an app sees (docs/protocol/edge.md §1.5). */
export function headersForApp(request: IncomingMessage, endpoint: Endpoint, requestId: string): string[] {
  const { headers, rawHeaders } = request;
  const isUpgrade = headers.upgrade !== undefined;
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  const kept: string[] = [];
  for (let position = 0; position < rawHeaders.length; position += 2) {
    const name = rawHeaders[position]!;
    const lower = name.toLowerCase();
    const isHop = hopByHop.has(lower) || named.has(lower);
    const isWanted = lower === 'transfer-encoding' || (isUpgrade && (lower === 'connection' || lower === 'upgrade'));
    if ((isHop && !isWanted) || replaced.has(lower)) continue;
    kept.push(name, rawHeaders[position + 1]!);
  }
  const client = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  const forwardedFor = [headers['x-forwarded-for'], client].flat().filter(Boolean).join(', ');
  kept.push('X-Forwarded-For', forwardedFor, 'X-Vcap-Request-Id', requestId);
  kept.push('X-CF-ApplicationID', endpoint.app, 'X-CF-InstanceIndex', endpoint.instanceIndex);
  kept.push('X-CF-InstanceID', endpoint.instanceId || `${endpoint.host}:${endpoint.port}`);
  if (headers['x-forwarded-proto'] === undefined) kept.push('X-Forwarded-Proto', 'http');
  if (headers['x-request-start'] === undefined) kept.push('X-Request-Start', String(Date.now()));
  if (!isUpgrade) kept.push('Connection', 'close');
  return kept;
}

/** Headers of an app's answer that go on to the client, name and value in turn. */
export function headersForClient(rawHeaders: string[], options: { keepUpgrade: boolean }): string[] {
  const kept: string[] = [];
  for (let position = 0; position < rawHeaders.length; position += 2) {
    const lower = rawHeaders[position]!.toLowerCase();
    const isUpgrade = options.keepUpgrade && (lower === 'connection' || lower === 'upgrade');
    if ((hopByHop.has(lower) && !isUpgrade) || lower === 'x-cf-proxy-signature') continue;
    kept.push(rawHeaders[position]!, rawHeaders[position + 1]!);
  }
  return kept;
}

/** Values of a header in a flat list, any case. */
export function valuesOf(flat: string[], name: string): string[] {
  return flat.filter((_, position) => position % 2 === 1 && flat[position - 1]!.toLowerCase() === name);
}
