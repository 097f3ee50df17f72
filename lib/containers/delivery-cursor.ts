import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';

const offsetLength = 16;

/**
 * How many bytes of an output were given to anyone, kept in a file of its own so that whoever comes next goes on there.
 * Written at once, in place and with one length: a killed process leaves the old number or the new one.
 */
export class DeliveryCursor {
  #offset: number;

  constructor(private readonly path: string) {
    this.#offset = readOffset(path);
  }

  get offset(): number {
    return this.#offset;
  }

  /** Of several who follow, the foremost counts. */
  advance(offset: number): void {
    if (offset <= this.#offset) return;
    this.#offset = offset;
    const file = openSync(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    try {
      writeSync(file, `${String(offset).padStart(offsetLength)}\n`, 0);
    } finally {
      closeSync(file);
    }
  }
}

function readOffset(path: string): number {
  try {
    return Number(/^ *(\d+)\n$/.exec(readFileSync(path, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
