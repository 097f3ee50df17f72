import type { BbsEvent, DesiredEvent, TaskEvent } from '../decisions/events/event.js';
import type { DesiredLRP, DesireLRPRequest, DesireTaskRequest, Task, TaskDefinition } from '../messages/models.js';
import { withDeprecatedTimeouts, withModernTimeouts } from './deprecated-timeouts.js';
import { afterDependencies, afterExclusiveLayers, sharedLayersAsDependencies } from './downloads.js';

/**
 * What desired LRPs and tasks look like to clients that know less (docs/protocol/bbs.md §2.1):
 *
 *   3  as stored
 *   2  no image layers: they are dependencies and downloads
 *   1  time-outs in nanoseconds and seconds too
 *   0  no dependencies: they are downloads
 */
export type Version = 0 | 1 | 2 | 3;

export function desiredLrpForVersion(desired: DesiredLRP, version: Version): DesiredLRP {
  if (version === 3) return desired;
  const second = desiredLrpWithoutLayers(desired);
  if (version === 2) return second;
  const first = desiredLrpWithOldTimeouts(second);
  return version === 1 ? first : desiredLrpWithoutDependencies(first);
}

export function taskForVersion(task: Task, version: Version): Task {
  const { taskDefinition } = task;
  if (version === 3 || !taskDefinition) return task;
  return { ...task, taskDefinition: definitionForVersion(taskDefinition, version) };
}

/** Events of the streams without a revision: desired LRPs as version 0, tasks as version 2. */
export function eventForRevision0(event: BbsEvent): BbsEvent {
  switch (event.name) {
    case 'desired_lrp_created':
    case 'desired_lrp_changed':
    case 'desired_lrp_removed':
      return desiredEventForVersion0(event);
    case 'task_created':
    case 'task_changed':
    case 'task_removed':
      return taskEventForVersion2(event);
    default:
      return event;
  }
}

/** A desired LRP as clients of version 0 send it, in today's terms. */
export function desiredLrpFromVersion0(desired: DesiredLRP): DesiredLRP {
  const { setup, action, monitor } = desired;
  return {
    ...desired,
    setup: setup && withModernTimeouts(setup),
    action: action && withModernTimeouts(action),
    monitor: monitor && withModernTimeouts(monitor),
    startTimeoutMs: BigInt(desired.deprecatedStartTimeoutS) * 1000n,
  };
}

/** A task as clients of version 0 send it, in today's terms. */
export function taskDefinitionFromVersion0(definition: TaskDefinition): TaskDefinition {
  return { ...definition, action: definition.action && withModernTimeouts(definition.action) };
}

export function desireRequestFromVersion0(request: DesireLRPRequest): DesireLRPRequest {
  return { ...request, desiredLrp: request.desiredLrp && desiredLrpFromVersion0(request.desiredLrp) };
}

export function taskRequestFromVersion0(request: DesireTaskRequest): DesireTaskRequest {
  const { taskDefinition } = request;
  return { ...request, taskDefinition: taskDefinition && taskDefinitionFromVersion0(taskDefinition) };
}

function desiredLrpWithoutLayers(desired: DesiredLRP): DesiredLRP {
  const { imageLayers, cachedDependencies, legacyDownloadUser, setup } = desired;
  return {
    ...desired,
    imageLayers: [],
    cachedDependencies: [...sharedLayersAsDependencies(imageLayers), ...cachedDependencies],
    setup: afterExclusiveLayers(imageLayers, legacyDownloadUser, setup),
  };
}

function desiredLrpWithOldTimeouts(desired: DesiredLRP): DesiredLRP {
  const { setup, action, monitor } = desired;
  return {
    ...desired,
    setup: setup && withDeprecatedTimeouts(setup),
    action: action && withDeprecatedTimeouts(action),
    monitor: monitor && withDeprecatedTimeouts(monitor),
    deprecatedStartTimeoutS: Number(BigInt.asUintN(32, desired.startTimeoutMs) / 1000n),
  };
}

function desiredLrpWithoutDependencies(desired: DesiredLRP): DesiredLRP {
  const { cachedDependencies, legacyDownloadUser, setup } = desired;
  return {
    ...desired,
    cachedDependencies: [],
    setup: afterDependencies(cachedDependencies, legacyDownloadUser, setup),
  };
}

function definitionForVersion(definition: TaskDefinition, version: Exclude<Version, 3>): TaskDefinition {
  const { imageLayers, legacyDownloadUser } = definition;
  const second: TaskDefinition = {
    ...definition,
    imageLayers: [],
    cachedDependencies: [...sharedLayersAsDependencies(imageLayers), ...definition.cachedDependencies],
    action: afterExclusiveLayers(imageLayers, legacyDownloadUser, definition.action),
  };
  if (version === 2) return second;
  const action = second.action && withDeprecatedTimeouts(second.action);
  if (version === 1) return { ...second, action };
  const { cachedDependencies } = second;
  return {
    ...second,
    cachedDependencies: [],
    action: afterDependencies(cachedDependencies, legacyDownloadUser, action),
  };
}

function desiredEventForVersion0(event: DesiredEvent): DesiredEvent {
  const translate = (desired: DesiredLRP | undefined) => desired && desiredLrpForVersion(desired, 0);
  if (event.name !== 'desired_lrp_changed') {
    return { ...event, message: { ...event.message, desiredLrp: translate(event.message.desiredLrp) } };
  }
  const { before, after } = event.message;
  return { ...event, message: { ...event.message, before: translate(before), after: translate(after) } };
}

function taskEventForVersion2(event: TaskEvent): TaskEvent {
  const translate = (task: Task | undefined) => task && taskForVersion(task, 2);
  if (event.name !== 'task_changed') return { ...event, message: { task: translate(event.message.task) } };
  return { ...event, message: { before: translate(event.message.before), after: translate(event.message.after) } };
}
