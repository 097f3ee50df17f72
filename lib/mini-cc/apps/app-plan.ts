import type { StopMessage } from '../messages.js';
import { type App, type AppChange, type Backend, backendOf, indexRange, isRunnable, needsStaging } from './app.js';

/** What has to be told to agents and to Diego after a change was stored, in this order. */
export type AppAction =
  | { kind: 'stop'; message: StopMessage }
  /** Of the backend that the staging was begun on. */
  | { kind: 'cancel-staging'; backend: Backend; taskId: string }
  | { kind: 'stage' }
  | { kind: 'start'; indices: number[] }
  /** Starts those that no cell has: some may run there still, from before the app was given to Diego. */
  | { kind: 'start-missing'; indices: number[] }
  | { kind: 'update-routes' }
  /** Diego's turn. `isAside`: the app is not Diego's any more, and a failure must not be the change's. */
  | { kind: 'desire'; isAside: boolean }
  | { kind: 'undesire'; isAside: boolean };

export interface AppPlan {
  after: App;
  actions: AppAction[];
  /** Puts back, when the actions fail, what made them necessary (docs/protocol/legacy-cc.md §3, §14). */
  rollback: { change: Partial<App>; stop: StopMessage } | undefined;
  /** The side that a started app goes to with this change. */
  handOver: Backend | undefined;
}

/**
 * The consequences of changing an app (docs/protocol/legacy-cc.md §3 `version`, §4, §9.6, §11). Pure.
 *
 * @param newVersion the version that the app gets if the change makes one necessary
 * @param isHandingOver whether both sides may run instances of it, from a change before this one
 */
export function planChange(before: App, change: AppChange, newVersion: string, isHandingOver = false): AppPlan {
  const changed: App = { ...before, ...withoutUndefined(change) };
  const after: App = needsNewVersion(before, changed) ? { ...changed, version: newVersion } : changed;
  const isOnBothSides = isHandingOver || (movesOver(before, after) && before.state === 'STARTED');
  if (before.state !== after.state || movesOver(before, after)) {
    return after.state === 'STARTED' ? planStart(before, after) : planStop(before, after, isOnBothSides);
  }
  if (needsStaging(after) && before.instances === 0) return planStart(before, after);
  const plan: AppPlan = { after, actions: [], rollback: undefined, handOver: undefined };
  if (!isRunnable(after)) return plan;
  return {
    ...plan,
    ...(after.diego ? planDesired(before, after, isOnBothSides) : planCells(before, after, isOnBothSides)),
  };
}

/** A change of the side that runs the app is none: Diego finds its droplet in the version that cells have. */
function needsNewVersion(before: App, after: App): boolean {
  const starts = before.state === 'STOPPED' && after.state === 'STARTED';
  const changesWhileStarted =
    after.state === 'STARTED' &&
    (before.memory !== after.memory || before.health_check_type !== after.health_check_type);
  return starts || changesWhileStarted || (!after.diego && routesDiffer(before, after));
}

function movesOver(before: App, after: App): boolean {
  return before.diego !== after.diego;
}

function planStart(before: App, after: App): AppPlan {
  const isHandOver = movesOver(before, after) && before.state === 'STARTED';
  const stages = needsStaging(after);
  const cancelled = movesOver(before, after) ? stagingCancelled(before) : [];
  return {
    after: cancelled.length > 0 && !stages ? withoutStaging(after) : after,
    actions: [...cancelled, ...(stages ? [{ kind: 'stage' } as const] : startActions(after, isHandOver))],
    rollback:
      after.diego || isHandOver
        ? undefined
        : { change: { state: before.state, instances: before.instances }, stop: { droplet: after.guid } },
    handOver: isHandOver ? backendOf(after) : undefined,
  };
}

function startActions(after: App, isHandOver: boolean): AppAction[] {
  if (after.diego) return isRunnable(after) ? [{ kind: 'desire', isAside: false }] : [];
  if (after.instances === 0) return [];
  return [{ kind: isHandOver ? 'start-missing' : 'start', indices: indexRange(0, after.instances) }];
}

/** A staging that is under way is given up with the app: its replies must change nothing any more. */
function planStop(before: App, after: App, isOnBothSides: boolean): AppPlan {
  const cancelled = stagingCancelled(before);
  const stop: AppAction = { kind: 'stop', message: { droplet: after.guid } };
  return {
    after: cancelled.length > 0 ? withoutStaging(after) : after,
    actions: [
      ...(!after.diego || isOnBothSides ? [stop] : []),
      ...cancelled,
      ...(after.diego || isOnBothSides ? [{ kind: 'undesire', isAside: !after.diego } as const] : []),
    ],
    rollback: undefined,
    handOver: undefined,
  };
}

function stagingCancelled(before: App): AppAction[] {
  const { staging_task_id: taskId, package_state } = before;
  if (taskId === null || package_state !== 'PENDING') return [];
  return [{ kind: 'cancel-staging', backend: backendOf(before), taskId }];
}

function withoutStaging(app: App): App {
  return { ...app, staging_task_id: null, package_pending_since: null };
}

function planDesired(before: App, after: App, isOnBothSides: boolean): Pick<AppPlan, 'actions'> {
  const routes = routesDiffer(before, after);
  if (!routes && before.instances === after.instances) return { actions: [] };
  return {
    actions: [
      ...(routes && isOnBothSides ? [{ kind: 'update-routes' } as const] : []),
      { kind: 'desire', isAside: false },
    ],
  };
}

function planCells(before: App, after: App, isOnBothSides: boolean): Pick<AppPlan, 'actions' | 'rollback'> {
  const routes = routesDiffer(before, after);
  const actions: AppAction[] = routes ? [{ kind: 'update-routes' }] : [];
  const started = indexRange(before.instances, after.instances);
  const stopped = indexRange(after.instances, before.instances);
  if (isOnBothSides && (routes || started.length + stopped.length > 0)) {
    actions.push({ kind: 'desire', isAside: true });
  }
  // Instances still have the version from before the change when memory changes together with their number.
  const { guid: droplet } = after;
  if (stopped.length > 0) {
    actions.push({ kind: 'stop', message: { droplet, version: runningVersion(before, after), indices: stopped } });
  }
  if (started.length === 0) return { actions, rollback: undefined };
  actions.push({ kind: 'start', indices: started });
  return {
    actions,
    rollback: {
      change: { instances: before.instances },
      stop: { droplet, version: after.version, indices: started },
    },
  };
}

/** `dea.update` gives the instances the new version; any other change leaves them with the one they have. */
function runningVersion(before: App, after: App): string {
  return routesDiffer(before, after) ? after.version : before.version;
}

/** Routes count in any order: their order means nothing to routers. */
function routesDiffer(before: App, after: App): boolean {
  return [...before.routes].sort().join(' ') !== [...after.routes].sort().join(' ');
}

function withoutUndefined(change: AppChange): Partial<App> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
