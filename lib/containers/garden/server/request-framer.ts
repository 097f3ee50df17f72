const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const headEnd = '\r\n\r\n';
/** A longer head is refused (431). */
export const maximumHeadBytes = 256 * 1024;

type State =
  | { kind: 'head'; text: string }
  | { kind: 'body'; remaining: number }
  | { kind: 'chunk size'; line: string }
  | { kind: 'chunk'; remaining: number }
  | { kind: 'trailer'; line: string }
  /** Where this request ends cannot be told: everything belongs to it. */
  | { kind: 'unknown' }
  | { kind: 'complete' };

/**
 * Tells where an HTTP request ends in the bytes of a connection, so that what comes behind is not given to the parser
 * of requests: on connections that are taken over it is no HTTP. What the request says is for the parser to judge.
 */
export class RequestFramer {
  #state: State = { kind: 'head', text: '' };

  get isComplete(): boolean {
    return this.#state.kind === 'complete';
  }

  /** True from the end of the head on. */
  get hasHead(): boolean {
    return this.#state.kind !== 'head';
  }

  /** How many of these bytes, which follow those before, belong to the request. */
  take(bytes: Buffer): number {
    let position = 0;
    while (position < bytes.length && !this.isComplete) position += this.#step(bytes.subarray(position));
    return position;
  }

  #step(bytes: Buffer): number {
    const state = this.#state;
    switch (state.kind) {
      case 'head':
        return this.#inHead(state.text, bytes);
      case 'body':
      case 'chunk': {
        const taken = Math.min(state.remaining, bytes.length);
        state.remaining -= taken;
        if (state.remaining === 0) {
          this.#state = state.kind === 'body' ? { kind: 'complete' } : { kind: 'chunk size', line: '' };
        }
        return taken;
      }
      case 'chunk size':
        return this.#inLine(state, bytes, (line) => this.#beginChunk(line));
      case 'trailer':
        return this.#inLine(state, bytes, (line) => {
          this.#state = line === '' ? { kind: 'complete' } : { kind: 'trailer', line: '' };
        });
      case 'unknown':
      case 'complete':
        return bytes.length;
    }
  }

  #inHead(before: string, bytes: Buffer): number {
    // Empty lines before a request mean nothing.
    if (before === '') {
      const start = bytes.findIndex((byte) => byte !== carriageReturn && byte !== lineFeed);
      if (start !== 0) return start < 0 ? bytes.length : start;
    }
    const text = before + bytes.toString('latin1');
    const end = text.indexOf(headEnd, Math.max(0, before.length - headEnd.length));
    if (end >= 0) {
      this.#state = bodyAfter(text.slice(0, end));
      return end + headEnd.length - before.length;
    }
    this.#state = text.length > maximumHeadBytes ? { kind: 'unknown' } : { kind: 'head', text };
    return bytes.length;
  }

  #inLine(state: { line: string }, bytes: Buffer, onLine: (line: string) => void): number {
    const end = bytes.indexOf(lineFeed);
    state.line += bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
    if (state.line.length > maximumHeadBytes) this.#state = { kind: 'unknown' };
    if (end < 0) return bytes.length;
    onLine(state.line.replace(/\r$/, ''));
    return end + 1;
  }

  #beginChunk(line: string): void {
    const [digits = ''] = /^[0-9a-fA-F]*/.exec(line) ?? [];
    const size = digits === '' ? Number.NaN : Number.parseInt(digits, 16);
    if (!Number.isSafeInteger(size)) this.#state = { kind: 'unknown' };
    else if (size === 0) this.#state = { kind: 'trailer', line: '' };
    // Its own line end comes with it.
    else this.#state = { kind: 'chunk', remaining: size + 2 };
  }
}

function bodyAfter(head: string): State {
  const fields = head.split('\r\n').slice(1);
  const fieldValue = (name: string) => {
    const field = fields.find((line) => line.toLowerCase().startsWith(`${name}:`));
    return field?.slice(name.length + 1).trim();
  };
  if (fieldValue('transfer-encoding')?.toLowerCase().endsWith('chunked')) return { kind: 'chunk size', line: '' };
  const length = fieldValue('content-length');
  if (length === undefined || length === '0') return { kind: 'complete' };
  return /^\d+$/.test(length) ? { kind: 'body', remaining: Number(length) } : { kind: 'unknown' };
}
