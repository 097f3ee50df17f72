import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../logging/logger.js';

/** What one who connects late is given first, as by Warden. */
const backlogBytes = 65_535;
/** What a reader may be behind; beyond it he misses what comes until he has caught up. */
const longestLagBytes = 1024 * 1024;
/** `sun_path` without its terminator. */
const longestPath = 107;
const farewellMs = 2000;
/** How long one who does not read may hold up whoever waits for readers. */
const readerPatienceMs = 2000;

/** Somebody else serves this path. */
export class SocketInUseError extends Error {
  constructor(path: string) {
    super(`${path} is served by another process`);
  }
}

/**
 * One output of a job on a UNIX socket, as Warden serves it (docs/protocol/dea.md §15): each reader gets the position
 * of what follows as 32 bits in network order, then the last 64 KiB, then what comes, until the job has ended.
 */
export class JobSocket {
  readonly #logger: Logger;
  readonly #server: Server;
  readonly #readers = new Set<Socket>();
  readonly #backlog: Backlog;

  private constructor(logger: Logger, position: number) {
    this.#logger = logger;
    this.#backlog = new Backlog(position);
    this.#server = createServer((reader) => this.#welcome(reader));
  }

  /**
   * Serves at `path`, in place of a socket that nobody serves any more; only root may connect.
   * @param position how many bytes of the output there have been before
   * @throws SocketInUseError, or the system's error
   */
  static async listen(path: string, logger: Logger, position = 0): Promise<JobSocket> {
    if (Buffer.byteLength(path) > longestPath) throw new Error(`${path} is too long for a socket`);
    if (await isServed(path)) throw new SocketInUseError(path);
    await rm(path, { force: true });
    const socket = new JobSocket(logger, position);
    await new Promise<void>((resolve, reject) => {
      socket.#server.once('error', reject).listen(path, () => {
        socket.#server.off('error', reject).on('error', (error) => {
          logger.warn('logs.job-socket.failed', { path, error: error.message });
        });
        resolve();
      });
    });
    await chmod(path, 0o600);
    return socket;
  }

  /** How many bytes of the output there have been. */
  get position(): number {
    return this.#backlog.end;
  }

  /** Gives a piece of output to all who read. */
  write(piece: Buffer): void {
    this.#backlog.push(piece);
    for (const reader of this.#readers) {
      if (reader.writableLength <= longestLagBytes) reader.write(piece);
    }
  }

  /** Resolves when no reader would miss what is written next, or one had long enough to catch up. */
  async uncongested(): Promise<void> {
    const isBehind = () => [...this.#readers].some(({ writableLength }) => writableLength > longestLagBytes);
    if (!isBehind()) return;
    const deadline = performance.now() + readerPatienceMs;
    while (isBehind() && performance.now() < deadline) await delay(10);
  }

  /** No more will come: readers get what they have not got yet, and the end. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const reader of this.#readers) reader.end();
    const timer = setTimeout(() => {
      for (const reader of this.#readers) reader.destroy();
    }, farewellMs);
    await closed;
    clearTimeout(timer);
  }

  #welcome(reader: Socket): void {
    this.#readers.add(reader);
    reader.on('error', (error) => this.#logger.debug('logs.job-socket.reader-lost', { error: error.message }));
    reader.on('close', () => this.#readers.delete(reader));
    // Readers have nothing to say; what they say all the same must not pile up.
    reader.resume();
    const { content, position } = this.#backlog;
    const header = Buffer.alloc(4);
    header.writeUInt32BE(position % 2 ** 32);
    reader.write(Buffer.concat([header, content]));
  }
}

/** The last of what there has been. */
class Backlog {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #total: number;

  constructor(position: number) {
    this.#total = position;
  }

  get end(): number {
    return this.#total;
  }

  push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    this.#total += piece.length;
    while (this.#bytes - this.#pieces[0]!.length >= backlogBytes) this.#bytes -= this.#pieces.shift()!.length;
  }

  get content(): Buffer {
    return Buffer.concat(this.#pieces).subarray(-backlogBytes);
  }

  /** How many bytes there have been before `content`. */
  get position(): number {
    return this.#total - Math.min(this.#bytes, backlogBytes);
  }
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
