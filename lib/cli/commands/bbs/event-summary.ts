import type { BbsEvent } from '../../../bbs/decisions/events/event.js';
import {
  type ActualLRP,
  type ActualLRPGroup,
  type ActualLRPKey,
  type DesiredLRP,
  type Task,
  TaskState,
} from '../../../bbs/messages/models.js';
import { nameOf, printable } from './session/wording.js';

/** Of the longest name. */
const nameWidth = 'actual_lrp_instance_changed'.length;

/** An event as a line for people. */
export function summaryOfEvent(event: BbsEvent): string {
  return printable(`${event.name.padEnd(nameWidth)}   ${subjectOf(event)}`).trimEnd();
}

function subjectOf(event: BbsEvent): string {
  switch (event.name) {
    case 'desired_lrp_created':
    case 'desired_lrp_removed':
      return desired(event.message.desiredLrp);
    case 'desired_lrp_changed':
      return change(desired(event.message.before), desired(event.message.after));
    case 'actual_lrp_created':
    case 'actual_lrp_removed':
      return group(event.message.actualLrpGroup);
    case 'actual_lrp_changed':
      return change(group(event.message.before), group(event.message.after));
    case 'actual_lrp_crashed':
      return `${key(event.message.actualLrpKey)} crashed ${event.message.crashCount} times: ${event.message.crashReason}`;
    case 'actual_lrp_instance_created':
    case 'actual_lrp_instance_removed':
      return actual(event.message.actualLrp);
    case 'actual_lrp_instance_changed': {
      const { actualLrpKey, actualLrpInstanceKey, before, after } = event.message;
      return `${key(actualLrpKey)} ${change(before?.state ?? '', after?.state ?? '')} ${actualLrpInstanceKey.cellId}`;
    }
    case 'task_created':
    case 'task_removed':
      return task(event.message.task);
    case 'task_changed':
      return change(task(event.message.before), task(event.message.after));
  }
}

function change(before: string, after: string): string {
  return before === after || before === '' ? after : `${before} -> ${after}`;
}

function desired(lrp: DesiredLRP | undefined): string {
  return lrp ? `${lrp.processGuid} with ${lrp.instances} instances` : '';
}

function group(slots: ActualLRPGroup | undefined): string {
  return actual(slots?.instance ?? slots?.evacuating);
}

function actual(lrp: ActualLRP | undefined): string {
  return lrp ? `${key(lrp.actualLrpKey)} ${lrp.state} ${lrp.actualLrpInstanceKey.cellId}`.trimEnd() : '';
}

function key({ processGuid, index }: ActualLRPKey): string {
  return `${processGuid}/${index}`;
}

function task(one: Task | undefined): string {
  return one ? `${one.taskGuid} ${nameOf(TaskState, one.state)} ${one.cellId}`.trimEnd() : '';
}
