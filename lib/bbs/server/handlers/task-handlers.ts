import type { Calls } from '../../board/calls.js';
import { resourceNotFound } from '../../errors.js';
import { taskAsRead } from '../../image/task-rows.js';
import { TaskDefinition } from '../../messages/models.js';
import { taskForVersion, type Version } from '../../translations/versions.js';
import { answered, type HandlerOf, type HandlersOf } from './handler.js';

type Names =
  | 'Tasks'
  | 'Tasks_r2'
  | 'TaskByGuid'
  | 'TaskByGuid_r2'
  | 'DesireTask'
  | 'StartTask'
  | 'CancelTask'
  | 'FailTask'
  | 'RejectTask'
  | 'CompleteTask'
  | 'ResolvingTask'
  | 'DeleteTask';

/** docs/protocol/bbs.md §9 */
export function taskHandlers(calls: Calls): HandlersOf<Names> {
  const { board, tasks } = calls;
  return {
    Tasks: (request) => board.image.tasks.list(request),
    Tasks_r2: listTasks(calls, 2),
    TaskByGuid: ({ taskGuid }) => board.image.tasks.element(taskGuid) ?? { error: resourceNotFound },
    TaskByGuid_r2: getTask(calls, 2),

    DesireTask: async ({ taskGuid, domain, taskDefinition = TaskDefinition.create() }, traceId) =>
      answered(await tasks.desire({ taskGuid, domain, definition: taskDefinition }, traceId)),
    StartTask: ({ taskGuid, cellId }, traceId) => tasks.start(taskGuid, cellId, traceId),
    CancelTask: async ({ taskGuid }, traceId) => answered(await tasks.cancel(taskGuid, traceId)),
    FailTask: async ({ taskGuid, failureReason }, traceId) =>
      answered(await tasks.fail(taskGuid, failureReason, traceId)),
    RejectTask: async ({ taskGuid, rejectionReason }, traceId) =>
      answered(await tasks.reject(taskGuid, rejectionReason, traceId)),
    CompleteTask: async ({ taskGuid, cellId, failed, failureReason, result }, traceId) =>
      answered(await tasks.complete(taskGuid, cellId, { failed, failureReason, result }, traceId)),
    ResolvingTask: async ({ taskGuid }, traceId) => answered(await tasks.resolve(taskGuid, traceId)),
    DeleteTask: async ({ taskGuid }, traceId) => answered(await tasks.delete(taskGuid, traceId)),
  };
}

/** For peers of before 2018 (docs/protocol/bbs.md §2.1). */
export function removedTaskHandlers(calls: Calls) {
  const { DesireTask } = taskHandlers(calls);
  return {
    Tasks_r0: listTasks(calls, 0),
    Tasks_r1: listTasks(calls, 1),
    TaskByGuid_r0: getTask(calls, 0),
    TaskByGuid_r1: getTask(calls, 1),
    DesireTask_r0: DesireTask,
    DesireTask_r1: DesireTask,
  };
}

function listTasks({ board }: Calls, version: Version): HandlerOf<'Tasks'> {
  return (request) => ({
    tasks: [...board.image.tasks.listDecoded(request)].map((task) => taskForVersion(task, version)),
  });
}

function getTask({ board }: Calls, version: Version): HandlerOf<'TaskByGuid'> {
  return ({ taskGuid }) => {
    const task = board.image.tasks.get(taskGuid);
    return task ? { task: taskForVersion(taskAsRead(task), version) } : { error: resourceNotFound };
  };
}
