import { encode } from '../../messages/codec.js';
import type { MessageType } from '../../messages/message-type.js';
import {
  type ActualLRP,
  ActualLRPChangedEvent,
  ActualLRPCrashedEvent,
  ActualLRPCreatedEvent,
  type ActualLRPGroup,
  ActualLRPInstanceChangedEvent,
  ActualLRPInstanceCreatedEvent,
  ActualLRPInstanceRemovedEvent,
  ActualLRPRemovedEvent,
  DesiredLRPChangedEvent,
  DesiredLRPCreatedEvent,
  DesiredLRPRemovedEvent,
  TaskChangedEvent,
  TaskCreatedEvent,
  TaskRemovedEvent,
} from '../../messages/models.js';

/** The events by the names that they have on the streams, and their messages (docs/protocol/bbs.md §11.2). */
interface EventMessages {
  desired_lrp_created: DesiredLRPCreatedEvent;
  desired_lrp_changed: DesiredLRPChangedEvent;
  desired_lrp_removed: DesiredLRPRemovedEvent;
  actual_lrp_created: ActualLRPCreatedEvent;
  actual_lrp_changed: ActualLRPChangedEvent;
  actual_lrp_removed: ActualLRPRemovedEvent;
  actual_lrp_crashed: ActualLRPCrashedEvent;
  actual_lrp_instance_created: ActualLRPInstanceCreatedEvent;
  actual_lrp_instance_changed: ActualLRPInstanceChangedEvent;
  actual_lrp_instance_removed: ActualLRPInstanceRemovedEvent;
  task_created: TaskCreatedEvent;
  task_changed: TaskChangedEvent;
  task_removed: TaskRemovedEvent;
}

export type EventName = keyof EventMessages;

/** One event: its name and its message. */
export type BbsEvent<N extends EventName = EventName> = {
  [Name in N]: { readonly name: Name; readonly message: EventMessages[Name] };
}[N];

/** Of the streams about LRPs: instances, and the deprecated groups. */
export type InstanceEvent = BbsEvent<
  'actual_lrp_crashed' | 'actual_lrp_instance_created' | 'actual_lrp_instance_changed' | 'actual_lrp_instance_removed'
>;
export type GroupEvent = BbsEvent<
  'actual_lrp_crashed' | 'actual_lrp_created' | 'actual_lrp_changed' | 'actual_lrp_removed'
>;
export type DesiredEvent = BbsEvent<'desired_lrp_created' | 'desired_lrp_changed' | 'desired_lrp_removed'>;
export type TaskEvent = BbsEvent<'task_created' | 'task_changed' | 'task_removed'>;

const types: { readonly [Name in EventName]: MessageType<EventMessages[Name]> } = {
  desired_lrp_created: DesiredLRPCreatedEvent,
  desired_lrp_changed: DesiredLRPChangedEvent,
  desired_lrp_removed: DesiredLRPRemovedEvent,
  actual_lrp_created: ActualLRPCreatedEvent,
  actual_lrp_changed: ActualLRPChangedEvent,
  actual_lrp_removed: ActualLRPRemovedEvent,
  actual_lrp_crashed: ActualLRPCrashedEvent,
  actual_lrp_instance_created: ActualLRPInstanceCreatedEvent,
  actual_lrp_instance_changed: ActualLRPInstanceChangedEvent,
  actual_lrp_instance_removed: ActualLRPInstanceRemovedEvent,
  task_created: TaskCreatedEvent,
  task_changed: TaskChangedEvent,
  task_removed: TaskRemovedEvent,
};

/** The message that a stream carries under that name; undefined for names that no stream has. */
export function eventType(name: string): MessageType<EventMessages[EventName]> | undefined {
  return Object.hasOwn(types, name) ? (types[name as EventName] as MessageType<EventMessages[EventName]>) : undefined;
}

/** The bytes of the event's message. */
export function encodeEvent(event: BbsEvent): Buffer {
  return encode(types[event.name] as MessageType<object>, event.message);
}

/**
 * Whether a subscriber that asked for one cell gets it (docs/protocol/bbs.md §11.2). Who wants no cell in particular
 * gets everything.
 *
 * @param cellId not empty
 */
export function concernsCell(event: BbsEvent, cellId: string): boolean {
  switch (event.name) {
    case 'actual_lrp_instance_created':
    case 'actual_lrp_instance_removed':
      return isOnCell(event.message.actualLrp, cellId);
    case 'actual_lrp_instance_changed':
    case 'actual_lrp_crashed':
      return event.message.actualLrpInstanceKey.cellId === cellId;
    case 'actual_lrp_created':
    case 'actual_lrp_removed':
      return isOnCell(onlyRow(event.message.actualLrpGroup), cellId);
    case 'actual_lrp_changed':
      return isOnCell(onlyRow(event.message.before), cellId) || isOnCell(onlyRow(event.message.after), cellId);
    default:
      return true;
  }
}

function isOnCell(row: ActualLRP | undefined, cellId: string): boolean {
  return row?.actualLrpInstanceKey.cellId === cellId;
}

/** Events tell of one slot of a group. */
function onlyRow(group: ActualLRPGroup | undefined): ActualLRP | undefined {
  return group?.instance ?? group?.evacuating;
}
