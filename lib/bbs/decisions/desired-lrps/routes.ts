import { isUtf8 } from 'node:buffer';
import { compactJson } from '../../messages/json/text.js';
import { type ActualLRPInternalRoute, ProtoRoutes } from '../../messages/models.js';

/** The only key of the routes that means something to the board (docs/protocol/bbs.md §14). */
const internalRouter = 'internal-router';

/**
 * Routes as they are stored, as text: each value compact, U+FFFD in the place of bytes that are no UTF-8.
 *
 * @throws InvalidJson where a value is no JSON
 */
export function storedRoutes(routes: ProtoRoutes): ProtoRoutes {
  const stored = [...routes.routes].map(([key, value]) => [key, compactJson(readable(value))] as const);
  return ProtoRoutes.create({ routes: new Map(stored) });
}

function readable(value: Buffer): Buffer {
  return isUtf8(value) ? value : Buffer.from(value.toString('utf8'));
}

/** Whether both name the same internal routes, byte by byte; neither having any is the same too. */
export function hasSameInternalRoutes(a: ProtoRoutes | undefined, b: ProtoRoutes | undefined): boolean {
  const first = a?.routes.get(internalRouter);
  const second = b?.routes.get(internalRouter);
  return first === undefined || second === undefined ? first === second : first.equals(second);
}

/** Without all other routes. */
export function internalRoutesOnly(routes: ProtoRoutes | undefined): ProtoRoutes | undefined {
  const value = routes?.routes.get(internalRouter);
  return value && ProtoRoutes.create({ routes: new Map([[internalRouter, Buffer.from(value)]]) });
}

/** The internal routes that instances get; none where the value is not a list of them. */
export function internalRoutesOf(routes: ProtoRoutes | undefined): ActualLRPInternalRoute[] {
  const value = routes?.routes.get(internalRouter);
  if (value === undefined) return [];
  const list: unknown = JSON.parse(value.toString());
  return Array.isArray(list) ? list.filter(isRoute).map(({ hostname }) => ({ hostname })) : [];
}

function isRoute(value: unknown): value is ActualLRPInternalRoute {
  return typeof value === 'object' && value !== null && 'hostname' in value && typeof value.hostname === 'string';
}
