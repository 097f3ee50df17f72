import { MalformedResponse } from './malformed-response.js';

/** Status line and headers of a response. */
export interface ResponseHead {
  readonly status: number;
  /** By their names in lower case; of several of one name the values joined by `, `. */
  readonly headers: ReadonlyMap<string, string>;
}

const headEnd = '\r\n\r\n';
const maximumHeadBytes = 64 * 1024;

/** Reads a response up to its body, however its bytes are cut. */
export class ResponseHeadParser {
  #received = Buffer.alloc(0);

  /**
   * @returns the head and the bytes behind it; undefined while it is not whole
   * @throws MalformedResponse
   */
  push(bytes: Buffer): { head: ResponseHead; rest: Buffer } | undefined {
    this.#received = Buffer.concat([this.#received, bytes]);
    for (;;) {
      const end = this.#received.indexOf(headEnd);
      if (end > maximumHeadBytes || (end < 0 && this.#received.length > maximumHeadBytes)) {
        throw new MalformedResponse(`a response's head of more than ${maximumHeadBytes} bytes`);
      }
      if (end < 0) return undefined;
      const head = parseHead(this.#received.toString('latin1', 0, end));
      const rest = this.#received.subarray(end + headEnd.length);
      if (head.status >= 200) return { head, rest };
      // An interim one; the response comes behind it.
      this.#received = rest;
    }
  }
}

function parseHead(text: string): ResponseHead {
  const [statusLine = '', ...lines] = text.split('\r\n');
  const [, status] = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |$)/.exec(statusLine) ?? [];
  if (status === undefined) {
    throw new MalformedResponse(`not the status line of a response: ${JSON.stringify(statusLine.slice(0, 100))}`);
  }
  return { status: Number(status), headers: parseHeaders(lines) };
}

function parseHeaders(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      throw new MalformedResponse(`not a header of a response: ${JSON.stringify(line.slice(0, 100))}`);
    }
    const before = headers.get(name.toLowerCase());
    headers.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`);
  }
  return headers;
}
