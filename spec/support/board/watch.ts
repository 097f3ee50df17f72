import type { StreamName } from '../../../lib/bbs/client/bbs-client.js';
import type { EventSubscription } from '../../../lib/bbs/client/streams/event-subscription.js';
import type { BbsEvent } from '../../../lib/bbs/decisions/events/event.js';
import type { ActualLRP, ActualLRPGroup } from '../../../lib/bbs/messages/models.js';
import { brief, type Caller, isFence } from './caller.js';

/** Follows a stream, and says what was told until now without waiting for what may never come. */
export class Watch {
  readonly #events: AsyncIterator<BbsEvent, void, undefined>;
  #marks = 0;

  private constructor(
    private readonly caller: Caller,
    private readonly stream: StreamName,
    private readonly subscription: EventSubscription,
  ) {
    this.#events = subscription[Symbol.asyncIterator]();
  }

  /** Resolves when nothing is missed any more. */
  static async open(caller: Caller, stream: StreamName, cellId = ''): Promise<Watch> {
    return new Watch(caller, stream, await caller.board.client.subscribe(stream, { cellId }));
  }

  /** What was told since the last time. */
  async told(): Promise<BbsEvent[]> {
    const mark = await this.#mark();
    const events: BbsEvent[] = [];
    for (;;) {
      const { value, done } = await this.#events.next();
      if (done || !value) throw new Error(`the stream ended after ${events.length} events`);
      const guid = guidOf(value);
      if (guid === mark) return events;
      if (!isMark(guid) && !isFence(guid)) events.push(value);
    }
  }

  /** The same in short: `changed RUNNING i/c`. */
  async toldBriefly(): Promise<string[]> {
    return (await this.told()).map(briefEvent);
  }

  stop(): void {
    this.subscription.stop();
  }

  async #mark(): Promise<string> {
    this.#marks += 1;
    const guid = `${markPrefix}${this.stream}-${this.#marks}`;
    if (this.stream.startsWith('Task')) {
      await this.caller.desireTask(guid);
      await this.caller.call('CancelTask', { taskGuid: guid });
      await this.caller.call('ResolvingTask', { taskGuid: guid });
      await this.caller.call('DeleteTask', { taskGuid: guid });
    } else {
      await this.caller.desire(guid, { instances: 0 });
      await this.caller.removeDesired(guid);
    }
    return guid;
  }
}

const markPrefix = 'mark-';

function isMark(guid: string | undefined): boolean {
  return guid?.startsWith(markPrefix) === true;
}

/** What the event is about. */
function guidOf({ message }: BbsEvent): string | undefined {
  if ('task' in message) return message.task?.taskGuid;
  if ('desiredLrp' in message) return message.desiredLrp?.processGuid;
  if ('actualLrpKey' in message) return message.actualLrpKey.processGuid;
  if ('actualLrp' in message) return message.actualLrp?.actualLrpKey.processGuid;
  if ('actualLrpGroup' in message) return rowOf(message.actualLrpGroup)?.actualLrpKey.processGuid;
  const { before } = message;
  if (before && 'taskGuid' in before) return before.taskGuid;
  if (before && 'processGuid' in before) return before.processGuid;
  return rowOf(before)?.actualLrpKey.processGuid;
}

function rowOf(group: ActualLRPGroup | undefined): ActualLRP | undefined {
  return group?.instance ?? group?.evacuating;
}

function briefEvent({ name, message }: BbsEvent): string {
  const short = name.replace('actual_lrp_instance_', '').replace('actual_lrp_', '');
  if ('actualLrp' in message) return `${short} ${brief(message.actualLrp!)}`;
  if ('actualLrpGroup' in message) return `${short} ${brief(rowOf(message.actualLrpGroup)!)}`;
  if (name === 'actual_lrp_crashed') return `${short} ${message.crashCount}`;
  if (name === 'actual_lrp_changed') return `${short} ${brief(rowOf(message.after)!)}`;
  if (name !== 'actual_lrp_instance_changed') return short;
  const { presence, state } = message.after!;
  return `${short} ${brief({ presence, state, actualLrpInstanceKey: message.actualLrpInstanceKey } as ActualLRP)}`;
}
