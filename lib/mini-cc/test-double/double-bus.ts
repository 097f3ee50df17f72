import { setTimeout as delay } from 'node:timers/promises';
import type { Bus, BusMessage, RequestOptions, Subscription } from '../../bus/bus.js';
import { subjects } from '../messages.js';
import type { Faults, Generation } from './faults.js';
import { type BusText, incoming, outgoing, stumblesOver } from './generations.js';
import type { MessageLog } from './message-log.js';

export interface DoubleBusOptions {
  bus: Bus;
  log: MessageLog;
  faults: Faults;
  /** The year whose Cloud Controller is played now; undefined: what the configuration makes of it. */
  generation(): Generation | undefined;
}

interface Registration {
  subject: string;
  handler: (message: BusMessage) => void | Promise<void>;
}

const stagingSubject = /^staging\.[^.]+\.start$/;

/** A null reference where a Cloud Controller of the year does not check. */
class Stumble extends Error {
  constructor(subject: string) {
    super(`${subject}: the cell is not in the other pool`);
  }
}

/** The bus with all its messages written down, and with the faults that were asked for. */
export class DoubleBus implements Bus {
  readonly #options: DoubleBusOptions;
  readonly #registrations = new Set<Registration>();
  readonly #stopped = new AbortController();
  readonly #cells = { deas: new Set<string>(), stagers: new Set<string>() };

  constructor(options: DoubleBusOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#options.bus.isConnected;
  }

  start(): Promise<void> {
    return this.#options.bus.start();
  }

  stop(): Promise<void> {
    this.#stopped.abort();
    return this.#options.bus.stop();
  }

  onConnect(listener: () => void): () => void {
    return this.#options.bus.onConnect(listener);
  }

  /** @throws when a Cloud Controller of the year would stumble after it */
  publish(subject: string, data: unknown = null): void {
    for (const message of outgoing(this.#options.generation(), subject, data)) {
      const delayMs = this.#leave(message);
      if (delayMs === undefined) continue;
      if (delayMs === 0) this.#options.bus.publish(message.subject, message.data);
      else void this.#later(delayMs, () => this.#options.bus.publish(message.subject, message.data));
    }
    if (this.#stumblesOver(subject)) throw new Stumble(subject);
  }

  subscribe(subject: string, handler: Registration['handler'], options: { queue?: string } = {}): Subscription {
    const registration = { subject, handler };
    this.#registrations.add(registration);
    const subscription = this.#options.bus.subscribe(
      subject,
      (message) => this.#arrive(registration, message),
      options,
    );
    return {
      unsubscribe: () => {
        this.#registrations.delete(registration);
        subscription.unsubscribe();
      },
    };
  }

  subscribeBytes(subject: string, handler: (payload: Uint8Array) => void): Subscription {
    return this.#options.bus.subscribeBytes(subject, (payload) => {
      this.#options.log.add({ direction: 'in', via: 'bus', subject, bytes: payload.length });
      handler(payload);
    });
  }

  async request(subject: string, data: unknown, options: RequestOptions & { maxReplies?: number }): Promise<unknown[]> {
    const message = await this.#leaveAsRequest(subject, data, options);
    if (!message) return [];
    const replies = await this.#options.bus.request(message.subject, message.data, options);
    for (const reply of replies) this.#writeReply('in', subject, reply);
    return replies;
  }

  async *requestStream(subject: string, data: unknown, options: RequestOptions): AsyncIterable<unknown> {
    if (this.#stumblesOver(subject)) throw new Stumble(subject);
    const message = await this.#leaveAsRequest(subject, data, options);
    if (!message) return;
    let number = 0;
    for await (const reply of this.#options.bus.requestStream(message.subject, message.data, options)) {
      number += 1;
      const fault = stagingSubject.test(subject) ? this.#options.faults.ofStagingReply(number) : undefined;
      this.#writeReply('in', subject, reply, fault && 'lost');
      if (!fault) yield reply;
    }
  }

  #stumblesOver(subject: string): boolean {
    return stumblesOver(this.#options.generation(), subject, this.#cells);
  }

  #note(subject: string, data: unknown): void {
    const id = (data as { id?: unknown } | null)?.id;
    if (typeof id !== 'string') return;
    if (subject === subjects.deaAdvertise) this.#cells.deas.add(id);
    if (subject === subjects.stagingAdvertise) this.#cells.stagers.add(id);
  }

  /** Writes a message down. @returns how long it has to wait, undefined when it is dropped */
  #leave({ subject, data }: BusText): number | undefined {
    const fault = this.#options.faults.ofMessage(subject, 'out');
    this.#write('out', subject, data, fault);
    if (fault?.fault === 'drop') return undefined;
    return fault?.milliseconds ?? 0;
  }

  /** Nobody answers a request that was dropped: that takes the whole time. */
  async #leaveAsRequest(
    subject: string,
    data: unknown,
    { timeoutMs, signal }: RequestOptions,
  ): Promise<BusText | undefined> {
    const [message, ...others] = outgoing(this.#options.generation(), subject, data);
    const delayMs = message && this.#leave(message);
    for (const other of others) this.publish(other.subject, other.data);
    // Without a pause, so that what is said after the request also comes after it.
    if (delayMs === 0) return message;
    const giveUp = signal ? AbortSignal.any([signal, this.#stopped.signal]) : this.#stopped.signal;
    await delay(delayMs ?? timeoutMs, undefined, { signal: giveUp }).catch(() => {});
    return delayMs === undefined || giveUp.aborted ? undefined : message;
  }

  async #arrive(registration: Registration, message: BusMessage): Promise<void> {
    const { faults, generation } = this.#options;
    const { subject, data } = message;
    const fault = faults.ofMessage(subject, 'in');
    this.#write('in', subject, data, fault);
    if (fault?.fault === 'drop') return;
    if (fault) await this.#later(fault.milliseconds, () => {});
    if (!this.#registrations.has(registration)) return;
    this.#note(subject, data);
    const reply = (answer: unknown) => {
      this.#writeReply('out', subject, answer);
      message.reply(answer);
    };
    for (const read of incoming(generation(), subject, data)) {
      const recorded: BusMessage = { ...message, ...read, reply };
      if (read.subject === subject) await registration.handler(recorded);
      else for (const other of this.#registrations) if (other.subject === read.subject) await other.handler(recorded);
    }
  }

  #write(direction: 'in' | 'out', subject: string, body: unknown, fault: ReturnType<Faults['ofMessage']>): void {
    const done = fault?.fault === 'drop' ? 'dropped' : fault && `delayed by ${fault.milliseconds} ms`;
    this.#options.log.add({ direction, via: 'bus', subject, body, ...(done !== undefined && { fault: done }) });
  }

  #writeReply(direction: 'in' | 'out', subject: string, body: unknown, fault?: string): void {
    this.#options.log.add({
      direction,
      via: 'bus',
      subject,
      isReply: true,
      body,
      ...(fault !== undefined && { fault }),
    });
  }

  async #later(ms: number, act: () => void): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopped.signal }).then(act, () => {});
  }
}
