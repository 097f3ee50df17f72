import { closeSync, constants, fstatSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessIO } from '../../engine.js';
import { type LogStart, type OutputName, outputNames } from './process-log.js';

/** A place in the output of a process: behind a record of one of the log files that there have been. */
export interface LogPosition {
  /** The log file, by the time of its first record: numbers of files are used again, times are not. */
  log: string;
  offset: number;
}

/** Where one who follows begins, in the log file `log`; in a later one he begins at its beginning. */
export interface FollowStart extends LogStart {
  log: string;
}

const timeLength = 40;
const offsetLength = 16;

/**
 * How far the output of one stream was given to anyone, kept in a file so that the next engine goes on there. The file
 * is written at once and in place, with a length that never changes: a killed engine leaves the old or the new place.
 */
export class DeliveryCursor {
  readonly #path: string;
  #position: LogPosition | undefined;

  constructor(processDirectory: string, output: OutputName) {
    this.#path = join(processDirectory, `delivered.${output}`);
    this.#position = readPosition(this.#path);
  }

  /** Undefined while nobody was given anything. */
  get position(): LogPosition | undefined {
    return this.#position;
  }

  /** Somebody was given everything up to there; of several who follow, the foremost counts. */
  advance(position: LogPosition): void {
    if (this.#position && !isBehind(this.#position, position)) return;
    this.#position = position;
    const file = openSync(this.#path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    try {
      writeSync(file, `${position.log.padEnd(timeLength)} ${String(position.offset).padStart(offsetLength)}\n`, 0);
    } finally {
      closeSync(file);
    }
  }
}

function readPosition(path: string): LogPosition | undefined {
  try {
    const [, log, offset] = /^(\S+) +(\d+)\n$/.exec(readFileSync(path, 'latin1')) ?? [];
    return log === undefined ? undefined : { log, offset: Number(offset) };
  } catch {
    return undefined;
  }
}

function isBehind(one: LogPosition, other: LogPosition): boolean {
  return one.log === other.log ? one.offset < other.offset : one.log < other.log;
}

/** The time of the first record of an open log file; empty while it has none. Reads a few bytes. */
export function logIdentity(file: number): string {
  const head = Buffer.alloc(timeLength);
  const length = readSync(file, head, 0, head.length, 0);
  const space = head.subarray(0, length).indexOf(' ');
  return space < 0 ? '' : head.toString('latin1', 0, space);
}

export interface StartOptions {
  /** The process's log as it is named now. */
  path: string;
  outputFrom: ProcessIO['outputFrom'];
  cursors: Record<OutputName, DeliveryCursor>;
  isFollowed: (output: OutputName) => boolean;
}

/**
 * Where one who attaches now begins to be given output. Does not wait for anything: what the process writes after the
 * call is given in any case.
 */
export function chooseStart({ path, outputFrom = 'start', cursors, isFollowed }: StartOptions): FollowStart {
  if (outputFrom === 'start') return { log: '', offset: 0 };
  const current = currentLog(path);
  if (current === undefined) return { log: '', offset: 0 };
  const after: Partial<Record<OutputName, number>> = {};
  const boundaries = outputNames.map((output) => {
    const { position } = cursors[output];
    // A cursor of a file that is gone: the oldest that is kept comes behind it.
    const delivered = position?.log === current.log ? position.offset : 0;
    after[output] = isFollowed(output) ? current.size : delivered;
    return delivered;
  });
  // The log's end need not be the end of a record; the cursors are.
  return { log: current.log, offset: Math.min(...boundaries), after };
}

function currentLog(path: string): { log: string; size: number } | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    return { log: logIdentity(file), size: fstatSync(file).size };
  } finally {
    closeSync(file);
  }
}
