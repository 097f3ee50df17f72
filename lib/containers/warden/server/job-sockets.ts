import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorData, type Logger } from '../../../logging/logger.js';
import { DeliveryCursor } from '../../delivery-cursor.js';
import { JobSocket } from '../job-socket.js';
import { type OutputName, outputNames } from '../output-buffer.js';

export interface JobSocketsOptions {
  /** Directory of the container on this machine. */
  containerPath: string;
  jobId: number;
  logger: Logger;
}

interface Outlet {
  socket: JobSocket;
  /** Positions go on when the server is started again: readers tell by them what they have got already. */
  position: DeliveryCursor;
}

/**
 * Both outputs of a job on sockets in its container's directory, where programs beside a DEA look for them
 * (docs/protocol/containers.md §1.5, docs/protocol/dea.md §15).
 */
export class JobSockets {
  readonly #outlets: Record<OutputName, Outlet>;

  private constructor(outlets: Record<OutputName, Outlet>) {
    this.#outlets = outlets;
  }

  /** Undefined when they cannot be served: a job must run, also when nobody can read what it says. */
  static async open({ containerPath, jobId, logger }: JobSocketsOptions): Promise<JobSockets | undefined> {
    const directory = join(containerPath, 'jobs', String(jobId));
    const opened: Partial<Record<OutputName, Outlet>> = {};
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      for (const name of outputNames) {
        const position = new DeliveryCursor(join(directory, `${name}.position`));
        const socket = await JobSocket.listen(join(directory, `${name}.sock`), logger, position.offset);
        opened[name] = { socket, position };
      }
      return new JobSockets(opened as Record<OutputName, Outlet>);
    } catch (error) {
      logger.warn('containers.warden.job-sockets-failed', { job: jobId, ...errorData(error) });
      await opened.stdout?.socket.close();
      return undefined;
    }
  }

  /** Resolves when readers take more. */
  async write(name: OutputName, piece: Buffer): Promise<void> {
    const { socket, position } = this.#outlets[name];
    socket.write(piece);
    position.advance(socket.position);
    await socket.uncongested();
  }

  /** No more will come; resolves when readers have got all, or had time for it. Idempotent. */
  async close(): Promise<void> {
    await Promise.all(outputNames.map((name) => this.#outlets[name].socket.close()));
  }
}
