/**
 * The verbs of the Garden API: method and path (docs/protocol/containers.md §2.2). Parts with a colon stand for one
 * percent-encoded segment; a path without such parts comes before one with them.
 */
export const routes = {
  ping: 'GET /ping',
  capacity: 'GET /capacity',
  list: 'GET /containers',
  create: 'POST /containers',
  bulkInfo: 'GET /containers/bulk_info',
  bulkMetrics: 'GET /containers/bulk_metrics',
  info: 'GET /containers/:handle/info',
  destroy: 'DELETE /containers/:handle',
  stop: 'PUT /containers/:handle/stop',
  streamIn: 'PUT /containers/:handle/files',
  streamOut: 'GET /containers/:handle/files',
  bandwidthLimits: 'GET /containers/:handle/limits/bandwidth',
  cpuLimits: 'GET /containers/:handle/limits/cpu',
  diskLimits: 'GET /containers/:handle/limits/disk',
  memoryLimits: 'GET /containers/:handle/limits/memory',
  netIn: 'POST /containers/:handle/net/in',
  netOut: 'POST /containers/:handle/net/out',
  bulkNetOut: 'POST /containers/:handle/net/out/bulk',
  run: 'POST /containers/:handle/processes',
  attach: 'GET /containers/:handle/processes/:pid',
  stdout: 'GET /containers/:handle/processes/:pid/attaches/:streamid/stdout',
  stderr: 'GET /containers/:handle/processes/:pid/attaches/:streamid/stderr',
  setGraceTime: 'PUT /containers/:handle/grace_time',
  properties: 'GET /containers/:handle/properties',
  property: 'GET /containers/:handle/properties/:key',
  setProperty: 'PUT /containers/:handle/properties/:key',
  removeProperty: 'DELETE /containers/:handle/properties/:key',
  metrics: 'GET /containers/:handle/metrics',
} as const;

export type RouteName = keyof typeof routes;

/** Values of the parts with a colon, by their names. */
export type PathParameters = Record<string, string>;

export type RouteMatch =
  | { kind: 'found'; name: RouteName; parameters: PathParameters }
  | { kind: 'method not allowed'; allowed: string[] }
  | { kind: 'not found' };

interface Route {
  name: RouteName;
  method: string;
  segments: string[];
}

const table: Route[] = Object.entries(routes).map(([name, route]) => {
  const [method = '', path = ''] = route.split(' ');
  return { name: name as RouteName, method, segments: path.split('/') };
});

/** @param path without a query, as it came */
export function matchRoute(method: string, path: string): RouteMatch {
  const matching = table.flatMap((route) => {
    const parameters = parametersIn(route.segments, path.split('/'));
    return parameters ? [{ ...route, parameters }] : [];
  });
  if (matching.length === 0) return { kind: 'not found' };
  const found = matching.find((route) => route.method === method);
  if (!found) return { kind: 'method not allowed', allowed: [...new Set(matching.map((route) => route.method))] };
  return { kind: 'found', name: found.name, parameters: found.parameters };
}

/** Method and path of a verb. */
export function routeTo(name: RouteName, parameters: PathParameters = {}): { method: string; path: string } {
  const [method = '', path = ''] = routes[name].split(' ');
  const segments = path
    .split('/')
    .map((segment) => (segment.startsWith(':') ? encodeURIComponent(parameters[segment.slice(1)] ?? '') : segment));
  return { method, path: segments.join('/') };
}

function parametersIn(pattern: string[], segments: string[]): PathParameters | undefined {
  if (pattern.length !== segments.length) return undefined;
  const parameters: PathParameters = {};
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index]!;
    if (!part.startsWith(':')) {
      if (part !== segment) return undefined;
      continue;
    }
    const value = decoded(segment);
    if (value === undefined || value === '') return undefined;
    parameters[part.slice(1)] = value;
  }
  return parameters;
}

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
