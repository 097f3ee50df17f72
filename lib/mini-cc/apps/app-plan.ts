import type { StopMessage } from '../messages.js';
import { type App, type AppChange, indexRange, isRunnable, needsStaging } from './app.js';

/** What has to be told to agents after a change was stored, in this order. */
export type AppAction =
  | { kind: 'stop'; message: StopMessage }
  | { kind: 'cancel-staging' }
  | { kind: 'stage' }
  | { kind: 'start'; indices: number[] }
  | { kind: 'update-routes' };

export interface AppPlan {
  after: App;
  actions: AppAction[];
  /** Puts back, when the actions fail, what made them necessary (docs/protocol/legacy-cc.md §3, §14). */
  rollback: { change: Partial<App>; stop: StopMessage } | undefined;
}

/**
 * The consequences of changing an app (docs/protocol/legacy-cc.md §3 `version`, §4, §11). Pure.
 *
 * @param newVersion the version that the app gets if the change makes one necessary
 */
export function planChange(before: App, change: AppChange, newVersion: string): AppPlan {
  const changed: App = { ...before, ...withoutUndefined(change) };
  const after: App = needsNewVersion(before, changed) ? { ...changed, version: newVersion } : changed;
  if (before.state !== after.state) return after.state === 'STARTED' ? planStart(before, after) : planStop(after);
  if (needsStaging(after) && before.instances === 0) return planStart(before, after);
  if (isRunnable(after)) return { after, ...planRunning(before, after) };
  return { after, actions: [], rollback: undefined };
}

/** Routes count in any order: their order means nothing to routers. */
function needsNewVersion(before: App, after: App): boolean {
  const starts = before.state === 'STOPPED' && after.state === 'STARTED';
  const changesWhileStarted =
    after.state === 'STARTED' &&
    (before.memory !== after.memory || before.health_check_type !== after.health_check_type);
  return starts || changesWhileStarted || routesDiffer(before, after);
}

function planStart(before: App, after: App): AppPlan {
  const stages = needsStaging(after);
  const actions: AppAction[] = stages ? [{ kind: 'stage' }] : [];
  if (!stages && after.instances > 0) actions.push({ kind: 'start', indices: indexRange(0, after.instances) });
  return {
    after,
    actions,
    rollback: { change: { state: before.state, instances: before.instances }, stop: { droplet: after.guid } },
  };
}

/** A staging that is under way is given up with the app: its replies must change nothing any more. */
function planStop(after: App): AppPlan {
  const isStaging = after.staging_task_id !== null && after.package_state === 'PENDING';
  return {
    after: isStaging ? { ...after, staging_task_id: null, package_pending_since: null } : after,
    actions: [
      { kind: 'stop', message: { droplet: after.guid } },
      ...(isStaging ? [{ kind: 'cancel-staging' } as const] : []),
    ],
    rollback: undefined,
  };
}

function planRunning(before: App, after: App): Pick<AppPlan, 'actions' | 'rollback'> {
  const actions: AppAction[] = routesDiffer(before, after) ? [{ kind: 'update-routes' }] : [];
  const started = indexRange(before.instances, after.instances);
  const stopped = indexRange(after.instances, before.instances);
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

function routesDiffer(before: App, after: App): boolean {
  return [...before.routes].sort().join(' ') !== [...after.routes].sort().join(' ');
}

function withoutUndefined(change: AppChange): Partial<App> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
