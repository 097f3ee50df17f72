import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { decodeEvent } from '../../lib/bbs/client/streams/event-decoding.js';
import type { BbsEvent } from '../../lib/bbs/decisions/events/event.js';

export interface RawEvent {
  id: number;
  name: string;
  event: BbsEvent;
}

/** One subscription over plain HTTP with what clients do not show: ids, and how the stream ends. */
export class RawEventStream {
  readonly events: RawEvent[] = [];
  /** Settles when it has ended: with its last chunk, or broken off. */
  readonly ended: Promise<'last chunk' | 'broken'>;
  #rest = '';

  /** Resolves when the answer's head is there. @param path `/v1/events/lrp_instances.r1` */
  static async open(url: string, path: string, method = 'POST'): Promise<RawEventStream> {
    const asked = request(`${url}${path}`, { method, agent: false });
    asked.end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`the subscription was answered with ${response.statusCode}`);
    asked.on('error', () => {});
    return new RawEventStream(response);
  }

  private constructor(private readonly response: IncomingMessage) {
    response.setEncoding('latin1');
    response.on('data', (text: string) => this.#take(text));
    response.on('error', () => {});
    this.ended = new Promise((resolve) => {
      response.once('close', () => resolve(response.complete ? 'last chunk' : 'broken'));
    });
  }

  /** Leaves without a word. */
  close(): void {
    this.response.destroy();
  }

  #take(text: string): void {
    const parts = (this.#rest + text).split('\n\n');
    this.#rest = parts.pop()!;
    for (const part of parts) {
      const [, id, name, data] = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(part) ?? [];
      if (id === undefined) continue;
      this.events.push({ id: Number(id), name: name!, event: decodeEvent({ id, name: name!, data: data! }) });
    }
  }
}
