import { type Request, type Response, Router } from 'express';
import type { MiniCcConfig } from '../config.js';
import { requireBearerToken } from '../http/authentication.js';
import { buildpacksApi } from '../http/buildpacks-api.js';
import { clientApi } from '../http/client-api.js';
import { componentApi } from '../http/component-api.js';
import { environmentApi } from '../http/environment-api.js';
import { logsApi } from '../http/logs-api.js';
import { bulkApi } from '../http/peers/bulk-api.js';
import { completionApi } from '../http/peers/completion-api.js';
import { diegoApi } from '../http/peers/diego-api.js';
import { orderApi } from '../http/peers/order-api.js';
import { stagingApi } from '../http/peers/staging-api.js';
import { taskCallbacksApi } from '../http/peers/task-callbacks-api.js';
import { tasksApi } from '../http/tasks-api.js';
import type { LogReceiver } from '../logs/log-receiver.js';
import type { Urls } from '../urls.js';
import type { Access } from './access.js';
import type { Control } from './control.js';
import { byteLimits, messageContext } from './settings.js';
import type { Stores } from './stores.js';

const apiVersion = '2.33.0';

export interface RoutesOptions {
  config: MiniCcConfig;
  access: Access;
  stores: Stores;
  control: Control;
  urls: Urls;
  receiver: LogReceiver;
}

/** All that is served, in the order in which it is asked. */
export function allRoutes(options: RoutesOptions): Router[] {
  const { config, access, stores, control, urls } = options;
  const { apps } = stores;
  const { registration, orders, stager, controller } = control;
  const maximumDropletBytes = byteLimits(config).droplet;
  return [
    infoApi(config),
    componentApi({ registration, apps }),
    orderApi({ apps, orders, credentials: access.internal }),
    diegoApi({ ...stores, ...control, credentials: access.internal }),
    taskCallbacksApi({ ...control, credentials: access.internal }),
    completionApi({ stager, credentials: access.internal }),
    // Before what users ask for: other components read below /v2 with credentials of their own.
    bulkApi({ apps, credentials: access.bulk }),
    stagingApi({ ...stores, ...access.staging, controller, urls, maximumDropletBytes }),
    Router().use('/v3', requireBearerToken(access.token), tasksApi(control)),
    Router().use('/v2', requireBearerToken(access.token), ...userRoutes(options)),
  ];
}

function userRoutes({ config, access, stores, control, receiver }: RoutesOptions): Router[] {
  const { cells, controller, handOvers, report } = control;
  const limits = byteLimits(config);
  return [
    clientApi({ ...stores, cells, controller, handOvers, report, maximumPackageBytes: limits.package }),
    buildpacksApi({ ...stores, maximumBytes: limits.buildpack }),
    environmentApi({ apps: stores.apps, context: messageContext(config, access.spaceGuid) }),
    logsApi({ ...stores, receiver }),
  ];
}

/** What clients may know before they have a token. */
function infoApi(config: MiniCcConfig): Router {
  const info = {
    name: 'isthmus mini-cc',
    version: 2,
    api_version: apiVersion,
    domain: config.domain,
    router: config.router_url ?? null,
    default_health_check_timeout: config.default_health_check_timeout,
    maximum_health_check_timeout: config.maximum_health_check_timeout,
  };
  return Router().get('/v2/info', (_request: Request, response: Response) => void response.json(info));
}
