import { MalformedResponse } from './malformed-response.js';

/** One event as the stream carries it, its data still base64 (docs/protocol/bbs.md §11.1). */
export interface ServerSentEvent {
  /** The last one given, if it has none of its own. */
  readonly id: string;
  readonly name: string;
  readonly data: string;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/**
 * Reads `text/event-stream` as upstream's Go client does, however the bytes are cut: lines end with LF or CR LF, those
 * that begin with a colon are comments, an event without data is none, and one that the stream ends in is lost.
 */
export class ServerSentEventParser {
  /** What the line that has begun consists of. */
  #pieces: Buffer[] = [];
  #lineBytes = 0;
  #dataBytes = 0;
  #id = '';
  #name = '';
  #data: string[] = [];
  /** Asked for by the stream; milliseconds. */
  retryMs: number | undefined;

  /** @param maximumEventBytes what an event may have of data, and a line of anything */
  constructor(private readonly maximumEventBytes: number) {}

  /**
   * The events that these bytes complete, read as they are taken.
   * @throws MalformedResponse where one is too large
   */
  *push(bytes: Buffer): Generator<ServerSentEvent> {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(lineFeed, start);
      if (end < 0) break;
      this.#keep(bytes.subarray(start, end));
      start = end + 1;
      const event = this.#take(this.#finishLine());
      if (event) yield event;
    }
    // A copy: a piece of a large buffer would keep all of it.
    if (start < bytes.length) this.#keep(Buffer.from(bytes.subarray(start)));
  }

  #keep(piece: Buffer): void {
    this.#lineBytes += piece.length;
    if (this.#lineBytes + this.#dataBytes > this.maximumEventBytes) {
      throw new MalformedResponse(`an event of more than ${this.maximumEventBytes} bytes`);
    }
    this.#pieces.push(piece);
  }

  #finishLine(): string {
    const line = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#lineBytes = 0;
    return line.toString('utf8', 0, line.at(-1) === carriageReturn ? line.length - 1 : line.length);
  }

  #take(line: string): ServerSentEvent | undefined {
    if (line === '') return this.#finishEvent();
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line)!;
    if (field === 'id') this.#id = value ?? '';
    else if (field === 'event') this.#name = value ?? '';
    else if (field === 'data') this.#addData(value ?? '');
    else if (field === 'retry' && /^\d{1,9}$/.test(value ?? '')) this.retryMs = Number(value);
    return undefined;
  }

  #addData(value: string): void {
    this.#data.push(value);
    this.#dataBytes += value.length + 1;
  }

  #finishEvent(): ServerSentEvent | undefined {
    const event = { id: this.#id, name: this.#name, data: this.#data.join('\n') };
    this.#name = '';
    this.#data = [];
    this.#dataBytes = 0;
    return event.data === '' ? undefined : event;
  }
}
