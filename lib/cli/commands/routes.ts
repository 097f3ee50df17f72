import { CliError } from '../cli-error.js';
import { appAddress } from '../launch.js';
import { routeOf } from '../manifest/routes.js';
import type { Session } from '../session.js';

/** A route as `map-route` and `unmap-route` take it. */
export interface RouteArguments {
  domain: string;
  hostname?: string;
  path?: string;
}

/** Gives an app one more address; its instances get it at once. */
export async function mapRoute(session: Session, name: string, wish: RouteArguments): Promise<void> {
  const app = await session.client.getApp(name);
  const route = routeOf(wish.hostname, wish.domain, wish.path);
  if (app.routes.includes(route)) return session.line(`${name} already has ${route}`);
  await session.client.updateApp(app.guid, { routes: [...app.routes, route] });
  session.line(`${name} gets ${appAddress(route, session.router)}`);
}

/** Takes an address from an app. @throws CliError when the app does not have it */
export async function unmapRoute(session: Session, name: string, wish: RouteArguments): Promise<void> {
  const app = await session.client.getApp(name);
  const route = routeOf(wish.hostname, wish.domain, wish.path);
  if (!app.routes.includes(route)) {
    throw new CliError(`${name} does not have ${route}; it has ${app.routes.join(', ') || 'none'}`);
  }
  await session.client.updateApp(app.guid, { routes: app.routes.filter((other) => other !== route) });
  session.line(`${name} has ${route} no more`);
}
