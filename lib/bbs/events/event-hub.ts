import type { BbsEvent, DesiredEvent, GroupEvent, InstanceEvent, TaskEvent } from '../decisions/events/event.js';
import { SharedFrame } from './shared-frame.js';

/** One who follows events; what it does with them must not wait. */
export interface Subscriber {
  event(frame: SharedFrame): void;
  /** Nothing comes any more: the follower must begin anew. */
  end(): void;
}

export type StreamKind = 'group' | 'instance' | 'task';

/** What one decision about LRPs is told as; each is made only when somebody follows it. */
export interface LrpNews {
  desired?: () => readonly DesiredEvent[];
  instance?: () => readonly InstanceEvent[];
  group?: () => readonly GroupEvent[];
}

/**
 * Hands events on to those who follow them, in the order in which they come: that of the commits
 * (docs/protocol/bbs.md §11). Each is encoded once, whoever gets it.
 */
export class EventHub {
  readonly #subscribers: Readonly<Record<StreamKind, Set<Subscriber>>> = {
    group: new Set(),
    instance: new Set(),
    task: new Set(),
  };

  /** @returns a function that ends it; `end` is not called then */
  subscribe(kind: StreamKind, subscriber: Subscriber): () => void {
    const subscribers = this.#subscribers[kind];
    subscribers.add(subscriber);
    return () => subscribers.delete(subscriber);
  }

  get count(): number {
    return Object.values(this.#subscribers).reduce((sum, { size }) => sum + size, 0);
  }

  tellLrps({ desired, instance, group }: LrpNews): void {
    const { instance: instances, group: groups } = this.#subscribers;
    if (desired && (instances.size > 0 || groups.size > 0)) {
      for (const frame of framesOf(desired())) {
        tell(instances, frame);
        tell(groups, frame);
      }
    }
    if (instance && instances.size > 0) for (const frame of framesOf(instance())) tell(instances, frame);
    if (group && groups.size > 0) for (const frame of framesOf(group())) tell(groups, frame);
  }

  tellTasks(events: () => readonly TaskEvent[]): void {
    const { task } = this.#subscribers;
    if (task.size > 0) for (const frame of framesOf(events())) tell(task, frame);
  }

  /** Ends all streams: who follows does not know any more what is true. */
  endStreams(): void {
    for (const subscribers of Object.values(this.#subscribers)) {
      const all = [...subscribers];
      subscribers.clear();
      for (const subscriber of all) subscriber.end();
    }
  }
}

function framesOf(events: readonly BbsEvent[]): SharedFrame[] {
  return events.map((event) => new SharedFrame(event));
}

function tell(subscribers: Iterable<Subscriber>, frame: SharedFrame): void {
  for (const subscriber of subscribers) subscriber.event(frame);
}
