import type { Endpoint } from '../messages.js';
import { addressOf, type Pool } from '../pool.js';
import type { Registry } from '../registry.js';
import { refusals } from './failures.js';
import type { Passage } from './passage.js';
import { stickyInstanceId } from './sticky-session.js';

export interface DestinationOptions {
  registry: Registry;
  sessionCookieNames: string[];
  /** Tells a route without endpoints from an unknown one. */
  answersEmptyPoolWith503: boolean;
}

const guid = '[\\da-f]{8}-(?:[\\da-f]{4}-){3}[\\da-f]{12}';
const appInstancePattern = new RegExp(`^(${guid}):(\\d+)$`);
const processInstancePattern = new RegExp(`^(${guid})(?::(\\d+))?$`);

interface InstanceWish {
  guid: string;
  /** Empty: any. */
  index: string;
  accepts(endpoint: Endpoint): boolean;
}

/** The endpoints that may answer a request, and which of them is asked next. */
export class Destination {
  constructor(
    readonly pool: Pool,
    /** The instance that the client's session belongs to. */
    readonly stickyId: string | undefined,
    private readonly wish: InstanceWish | undefined,
  ) {}

  /** Undefined when none is left, or the others are at their limit. */
  next(tried: ReadonlySet<string>): Endpoint | undefined {
    if (this.stickyId !== undefined && !this.wish) {
      const sticky = this.pool.find(({ instanceId }) => instanceId === this.stickyId);
      if (sticky && !tried.has(addressOf(sticky))) return sticky;
    }
    return this.pool.select({ tried, accepts: this.wish?.accepts });
  }
}

/**
 * Finds where a request is to go (docs/protocol/edge.md §1.5, steps 4 to 10).
 *
 * @throws RouterFailure when it goes nowhere
 */
export function chooseDestination(passage: Passage, options: DestinationOptions): Destination {
  const { request, host, hostName, path } = passage;
  if (hostName === '' || host === passage.clientAddress) throw refusals.emptyHost();
  const wish = instanceWish(passage);
  const pool = options.registry.lookup(hostName, path);
  if (wish && !pool?.list().some(wish.accepts)) throw refusals.unknownInstance(wish.index, wish.guid, host);
  if (!pool) throw refusals.unknownRoute(host);
  if (pool.isEmpty) throw options.answersEmptyPoolWith503 ? refusals.noEndpoints(host) : refusals.unknownRoute(host);
  if (pool.routeServiceUrl !== '') {
    const isWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket';
    throw isWebSocket ? refusals.routeServiceForWebSocket() : refusals.routeServiceUnsupported();
  }
  return new Destination(pool, stickyInstanceId(request.headers.cookie, options.sessionCookieNames), wish);
}

function instanceWish({ request: { headers } }: Passage): InstanceWish | undefined {
  const appInstance = headers['x-cf-app-instance'];
  if (appInstance !== undefined) {
    const [, app = '', index = ''] = appInstancePattern.exec(String(appInstance)) ?? [];
    if (app === '') throw refusals.invalidInstance('App');
    return { guid: app, index, accepts: (each) => each.app === app && each.instanceIndex === index };
  }
  const processInstance = headers['x-cf-process-instance'];
  if (processInstance === undefined) return undefined;
  const [, process = '', index = ''] = processInstancePattern.exec(String(processInstance)) ?? [];
  if (process === '') throw refusals.invalidInstance('Process');
  return {
    guid: process,
    index,
    accepts: ({ tags, instanceIndex }) => tags?.process_id === process && (index === '' || instanceIndex === index),
  };
}
