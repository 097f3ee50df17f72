import type { RedisConnection, Script } from './connection.js';

type Argument = string | number;

/** Elements that one step of a scan is about. */
const scanStep = 4000;

export interface DatabaseOptions {
  connection: RedisConnection;
  /** Begins every key; with a hash tag, so that a cluster keeps them together. */
  prefix: string;
  /** Unix seconds. @default Redis's own time */
  clock?: (() => number) | undefined;
}

/** The keys of one prefix, and the time that all go by who share it. */
export class Database {
  readonly prefix: string;
  readonly connection: RedisConnection;

  constructor(private readonly options: DatabaseOptions) {
    this.prefix = options.prefix;
    this.connection = options.connection;
  }

  /** @param name without the prefix */
  key(name: string): string {
    return `${this.prefix}${name}`;
  }

  /** Unix milliseconds. */
  async now(): Promise<number> {
    const { clock, connection } = this.options;
    if (clock) return clock() * 1000;
    const [seconds, microseconds] = await connection.attempt(() => connection.commands.time());
    return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
  }

  /** Runs a script, which gets the time as its first argument. */
  run(script: Script, args: Argument[] = []): Promise<unknown> {
    const { clock, connection, prefix } = this.options;
    return connection.run(script, prefix, [clock ? Math.round(clock() * 1000) : '', ...args]);
  }

  /** Fields and values of a hash, some at a time; a field may come twice. */
  async *hashEntries(name: string): AsyncGenerator<[field: string, value: string][]> {
    const { commands } = this.connection;
    const key = this.key(name);
    for await (const flat of this.#scan((cursor) => commands.hscan(key, cursor, 'COUNT', scanStep))) {
      yield inPairs(flat);
    }
  }

  /** Members of a set, some at a time; a member may come twice. */
  members(name: string): AsyncGenerator<string[]> {
    const { commands } = this.connection;
    const key = this.key(name);
    return this.#scan((cursor) => commands.sscan(key, cursor, 'COUNT', scanStep));
  }

  /** Keys that match a pattern of SCAN, some at a time; a key may come twice. */
  keys(pattern: string): AsyncGenerator<string[]> {
    const { commands } = this.connection;
    return this.#scan((cursor) => commands.scan(cursor, 'MATCH', pattern, 'COUNT', scanStep));
  }

  async *#scan(step: (cursor: string) => Promise<[string, string[]]>): AsyncGenerator<string[]> {
    let cursor = '0';
    do {
      const [next, elements] = await this.connection.attempt(() => step(cursor));
      if (elements.length > 0) yield elements;
      cursor = next;
    } while (cursor !== '0');
  }
}

/** What Redis answers for a hash to a script: field and value in turn. */
export function inPairs(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at]!, flat[at + 1]!]);
  return pairs;
}
