import type { StreamName } from '../../../bbs/client/bbs-client.js';
import type { EventSubscription } from '../../../bbs/client/streams/event-subscription.js';
import { type BbsEvent, eventType } from '../../../bbs/decisions/events/event.js';
import { toJson } from '../../../bbs/messages/json/print.js';
import { quoteJson } from '../../../bbs/messages/json/text.js';
import { summaryOfEvent } from './event-summary.js';
import type { BbsSession } from './session/bbs-session.js';
import { subscriptionFailureOf } from './session/word-failure.js';

/** Of the stream of groups; what else it carries comes on that of instances, too. */
const groupEvents = new Set<string>(['actual_lrp_created', 'actual_lrp_changed', 'actual_lrp_removed']);

export interface LrpEventsOptions {
  cellId?: string;
  excludeActualLrpGroups?: boolean;
}

interface Following {
  events: EventSubscription;
  isShown: (event: BbsEvent) => boolean;
}

/** Prints events of LRPs until the BBS ends all streams, or the user does. */
export async function lrpEvents(session: BbsSession, options: LrpEventsOptions): Promise<void> {
  const { cellId = '', excludeActualLrpGroups = false } = options;
  const following: Following[] = [];
  if (!excludeActualLrpGroups) {
    session.output.warn(`${[...groupEvents].join(', ')} are deprecated; -x leaves them out.`);
    const events = await subscribe(session, 'EventStream', cellId);
    following.push({ events, isShown: ({ name }) => groupEvents.has(name) });
  }
  following.push({ events: await subscribe(session, 'LRPInstanceEventStream', cellId), isShown: () => true });
  // One that fails does not end the other.
  const outcomes = await Promise.allSettled(following.map((each) => follow(session, each)));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** Prints events of tasks until the BBS ends the stream, or the user does. */
export async function taskEvents(session: BbsSession): Promise<void> {
  const events = await subscribe(session, 'TaskEventStream', '');
  await follow(session, { events, isShown: () => true });
}

async function subscribe(session: BbsSession, name: StreamName, cellId: string): Promise<EventSubscription> {
  const { client, terminal, output } = session;
  const onBroken = ({ message }: Error) => output.warn(`${message}; it is tried again, and events may be missing`);
  try {
    return await client.subscribe(name, { cellId, signal: terminal.signal, onBroken });
  } catch (error) {
    throw subscriptionFailureOf(error);
  }
}

async function follow({ output }: BbsSession, { events, isShown }: Following): Promise<void> {
  for await (const event of events) {
    if (isShown(event)) output.line(output.isJson ? jsonOf(event) : summaryOfEvent(event));
  }
}

function jsonOf({ name, message }: BbsEvent): string {
  return `{"type":${quoteJson(name)},"data":${toJson(eventType(name)!, message)}}`;
}
