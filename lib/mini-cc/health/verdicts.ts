import { type App, isRunnable } from '../apps/app.js';
import type { HealthStart, HealthStop, StartOrder, StopOrder } from '../messages.js';
import { isKeptOnCells } from '../migration/decisions.js';
import type { HandOver } from '../store/hand-over-store.js';

/**
 * Whether a start that the health manager orders still makes sense: what it knows of the app may be a minute old
 * (docs/protocol/legacy-cc.md §6.2). Pure.
 *
 * @param app the app that the order names, undefined when there is none
 */
export function mayStart(app: App | undefined, order: StartOrder): app is App {
  return app !== undefined && isStartable(app, order.version) && order.instance_index < app.instances;
}

/**
 * Whether the instance of a stop order has to go (docs/protocol/legacy-cc.md §6.2). Pure.
 *
 * @param handOver keeps instances of an app that Diego does not run yet (§9.6)
 */
export function mustStop(app: App | undefined, order: StopOrder, handOver?: HandOver): boolean {
  if (!app || !keepsVersion(app, order.version, handOver)) return true;
  return order.is_duplicate || order.instance_index >= app.instances;
}

/**
 * The indices of an order of before March 2014 that are to be started: no more than are missing by its own count
 * (docs/protocol/legacy-cc.md §6.4). Pure.
 */
export function indicesToStart(app: App, order: HealthStart): number[] {
  if (!isStartable(app, order.version)) return [];
  const missing = Math.max(0, app.instances - (order.running[order.version] ?? 0));
  const wanted = [...new Set(order.indices)].filter((index) => index < app.instances);
  return wanted.slice(0, missing);
}

/**
 * The instances of an order of before March 2014 that have to go: all of versions that are not kept, and as many of
 * the current one as run beyond the wished number by its own count (docs/protocol/legacy-cc.md §6.4). Pure.
 */
export function instancesToStop(app: App | undefined, order: HealthStop, handOver?: HandOver): string[] {
  const surplus = Math.max(0, (order.running[app?.version ?? ''] ?? 0) - (app?.instances ?? 0));
  const named = Object.entries(order.instances);
  const isKept = (version: string) => app !== undefined && keepsVersion(app, version, handOver);
  const unwanted = named.filter(([, version]) => !isKept(version));
  const beyond = named.filter(([, version]) => isKept(version)).slice(0, surplus);
  return [...unwanted, ...beyond].map(([instance]) => instance);
}

function isStartable(app: App, version: string): boolean {
  return isRunnable(app) && !app.diego && app.droplet_hash !== null && app.version === version;
}

/** Whether cells are to have any instance of this version. */
function keepsVersion(app: App, version: string, handOver: HandOver | undefined): boolean {
  if (app.state !== 'STARTED' || app.package_state === 'FAILED') return false;
  return app.diego ? isKeptOnCells(app, handOver, version) : app.version === version;
}
