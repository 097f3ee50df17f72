import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { decode } from '../../lib/bbs/messages/codec.js';
import { removedRoutes } from '../../lib/bbs/removed-routes.js';
import { findRoute, type RequestOf, type ResponseOf, type RouteName, routes } from '../../lib/bbs/routes.js';

/** Rows of the table in docs/protocol/bbs.md §2: name, method, path, request, response. */
function documentedRoutes(): string[][] {
  const text = readFileSync(new URL('../../docs/protocol/bbs.md', import.meta.url), 'utf8');
  const table = text.slice(text.indexOf('\n## 2. Routes'), text.indexOf('\n### 2.1'));
  const row = /^\| (\w+)(?: dep\.)? \| (\*\*GET\*\* )?`([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm;
  return [...table.matchAll(row)].map(([, name, get, path, request, response]) => [
    name!,
    get ? 'GET' : 'POST',
    path!,
    request!.replace(' (GET body)', ''),
    response!.startsWith('SSE') ? 'SSE' : response!,
  ]);
}

describe('the routes of the bulletin board', () => {
  it('are those of the protocol, with its messages', () => {
    const shown = Object.entries(routes).map(([name, route]) => {
      const isTaskStream = route.kind === 'stream' && route.events === 'task';
      const request = route.request?.name ?? (isTaskStream ? '(body ignored)' : '(empty)');
      return [name, route.method, route.path, request, route.kind === 'stream' ? 'SSE' : route.response.name];
    });
    expect(shown).to.have.deep.members(documentedRoutes());
  });

  it('are found by their exact path', () => {
    expect(findRoute('/v1/ping')).to.equal('Ping');
    expect(findRoute('/v1/ping/')).to.equal(undefined);
    expect(findRoute('/v1/actual_lrps/start')).to.equal('StartActualLRP_r0');
  });

  it('find what is wrong with the empty message, except where everything may be asked for', () => {
    const permissive = (Object.keys(routes) as RouteName[]).filter((name) => {
      const route = routes[name];
      if (route.kind === 'stream' || !route.request) return false;
      const request = decode<object>(route.request, Buffer.alloc(0));
      return (route.findings as (message: object) => readonly string[])(request).length === 0;
    });
    expect(permissive).to.deep.equal([
      'ActualLRPs',
      'ActualLRPGroups',
      'DesiredLRPs',
      'DesiredLRPs_r2',
      'DesiredLRPSchedulingInfos',
      'DesiredLRPRoutingInfos',
      'Tasks',
      'Tasks_r2',
    ]);
  });

  it('know the types of their messages', () => {
    const request: RequestOf<'StartTask'> = { taskGuid: 't', cellId: 'c' };
    const response: ResponseOf<'StartTask'> = { error: undefined, shouldStart: true };
    expect([request.taskGuid, response.shouldStart]).to.deep.equal(['t', true]);
  });

  it('that were removed have paths or methods of their own', () => {
    for (const { method, path } of Object.values(removedRoutes)) {
      const found = findRoute(path);
      expect(found && routes[found].method, path).not.to.equal(method);
    }
  });
});
