import type { Calls } from '../../board/calls.js';
import { type RemovedRouteName, removedRoutes } from '../../removed-routes.js';
import { type CallName, type CallRoute, type RouteName, routes, type StreamRoute } from '../../routes.js';
import { actualLrpHandlers } from './actual-lrp-handlers.js';
import { desiredLrpHandlers, removedDesiredLrpHandlers } from './desired-lrp-handlers.js';
import { evacuationHandlers } from './evacuation-handlers.js';
import { answered, type Handler, type HandlerOf, type HandlersOf } from './handler.js';
import { removedTaskHandlers, taskHandlers } from './task-handlers.js';

/** One path of the API, and what answers there. */
export type Endpoint =
  | {
      readonly name: RouteName | RemovedRouteName;
      readonly route: CallRoute<object, object>;
      readonly handler: Handler<object, object>;
    }
  | { readonly name: RouteName; readonly route: StreamRoute };

/** @returns everything that is served by path; of old, some paths answered two methods */
export function endpointsOf(
  calls: Calls,
  { servesRemovedRoutes }: { servesRemovedRoutes: boolean },
): ReadonlyMap<string, readonly Endpoint[]> {
  const handlers: Readonly<Record<string, unknown>> = {
    ...allHandlers(calls),
    ...removedDesiredLrpHandlers(calls),
    ...removedTaskHandlers(calls),
    Cells_r0: listCells(calls),
  };
  const served = { ...routes, ...(servesRemovedRoutes && removedRoutes) };
  const endpoints = new Map<string, Endpoint[]>();
  for (const [name, route] of Object.entries(served)) {
    // The tables above are typed route by route; from here on only the names tie them together.
    const endpoint = (route.kind === 'stream' ? { name, route } : { name, route, handler: handlers[name] }) as Endpoint;
    endpoints.set(route.path, [...(endpoints.get(route.path) ?? []), endpoint]);
  }
  return endpoints;
}

function allHandlers(calls: Calls): HandlersOf<CallName> {
  const { domains } = calls;
  return {
    Ping: () => ({ available: true }),
    Domains: () => ({ domains: domains.list() }),
    UpsertDomain: async ({ domain, ttl }) => answered(await domains.upsert(domain, ttl)),
    Cells: listCells(calls),
    ...actualLrpHandlers(calls),
    ...evacuationHandlers(calls),
    ...desiredLrpHandlers(calls),
    ...taskHandlers(calls),
  };
}

function listCells({ cells }: Calls): HandlerOf<'Cells'> {
  return async () => ({ cells: await cells.list() });
}
