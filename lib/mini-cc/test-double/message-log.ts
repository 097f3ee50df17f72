import { redact, redactText } from '../../logging/redaction.js';

/** A message of the bus, or a request or an answer over HTTP, as specs read it. */
export interface LogEntry {
  /** Rises by one with each entry. */
  id: number;
  /** ISO 8601. */
  time: string;
  /** Seen from the Cloud Controller. */
  direction: 'in' | 'out';
  via: 'bus' | 'http';
  /** Of a message; a reply has the subject of its request. */
  subject?: string;
  isReply?: true;
  /** Of a request and of its answer. */
  method?: string;
  url?: string;
  /** Of an answer. */
  status?: number;
  /** Bytes of a body that is no JSON. */
  bytes?: number;
  body?: unknown;
  /** What was done to it. */
  fault?: string;
}

export type NewEntry = Omit<LogEntry, 'id' | 'time'>;

export interface LogQuery {
  /** Entries with greater ids. */
  since?: number;
  /** Subject with the bus's own wildcards. */
  subject?: string;
}

/** So many are kept; the oldest go. */
const kept = 10_000;

/** Every message in and out, without secrets (docs/protocol/legacy-cc.md §12). */
export class MessageLog {
  readonly #entries: LogEntry[] = [];
  readonly #now: () => number;
  #lastId = 0;

  /** @param now milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** @returns a function that tells the body when it is known later */
  add(entry: NewEntry): (body: unknown) => void {
    this.#lastId += 1;
    const { url, body, ...rest } = entry;
    const added: LogEntry = {
      id: this.#lastId,
      time: new Date(this.#now()).toISOString(),
      ...rest,
      ...(url !== undefined && { url: redactText(url) }),
      ...(body !== undefined && { body: redact(body) }),
    };
    this.#entries.push(added);
    if (this.#entries.length > kept) this.#entries.shift();
    return (late) => {
      added.body = redact(late);
    };
  }

  /** Oldest first. */
  list({ since = 0, subject }: LogQuery = {}): LogEntry[] {
    return this.#entries.filter(
      (entry) =>
        entry.id > since &&
        (subject === undefined || (entry.subject !== undefined && matchesSubject(subject, entry.subject))),
    );
  }
}

/** Whether a subject fits a pattern with `*` for one token and `>` for the rest. */
export function matchesSubject(pattern: string, subject: string): boolean {
  const [wanted, given] = [pattern.split('.'), subject.split('.')];
  const rest = wanted.indexOf('>');
  if (rest !== -1) return given.length > rest && wanted.slice(0, rest).every((token, at) => fits(token, given[at]));
  return wanted.length === given.length && wanted.every((token, at) => fits(token, given[at]));
}

function fits(wanted: string, given: string | undefined): boolean {
  return wanted === '*' ? given !== undefined : wanted === given;
}
