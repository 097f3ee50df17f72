import { mkdir, readFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../../files/atomic-write.js';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { PortMapping } from '../../engine.js';
import { InvalidSpecError } from '../../errors.js';
import { holdPort } from './host.js';
import { PortPool } from './port-pool.js';

export interface HostPortsOptions {
  /** Ports for mappings that ask for none in particular. */
  start: number;
  size: number;
  /** File that remembers which port comes next; its directory is created. */
  stateFile: string;
  logger: Logger;
}

const stateSchema = z.object({ offset: z.number().int().nonnegative() });
const largestPort = 65_535;

/**
 * The host's ports that are mapped to containers: chosen from the pool, or by the caller, whose responsibility they are
 * then. A mapped one is held, so that no program on the host takes it (docs/protocol/containers.md §3.5).
 */
export class HostPorts {
  readonly #options: HostPortsOptions;
  readonly #held = new Map<number, Server>();
  #pool: PortPool;
  #saving: Promise<void> = Promise.resolve();

  /** @throws RangeError for a pool that goes beyond port 65535 */
  constructor(options: HostPortsOptions) {
    this.#options = options;
    this.#pool = new PortPool({ ...options, offset: 0 });
  }

  /** Goes on where the last engine stopped. */
  async start(): Promise<void> {
    this.#pool = new PortPool({ ...this.#options, offset: await this.#readOffset() });
  }

  /** Lets go of all ports. Idempotent. */
  async stop(): Promise<void> {
    await this.#saving;
    await Promise.all([...this.#held.keys()].map((port) => this.#letGo(port)));
  }

  /**
   * @throws InvalidSpecError for a number that is no port
   * @throws ExhaustedError when no port of the pool is free
   */
  async choose(request: { hostPort?: number; containerPort?: number }): Promise<PortMapping> {
    for (const name of ['hostPort', 'containerPort'] as const) checkPort(name, request[name] ?? 0);
    const hostPort = request.hostPort || (await this.#pool.acquire((port) => this.#hold(port)));
    if (request.hostPort) await this.claim(hostPort);
    else this.#saveOffset();
    return { hostPort, containerPort: request.containerPort || hostPort };
  }

  /** Keeps a port that was chosen before. It may be mapped already, or have a listener that is not reached any more. */
  async claim(port: number): Promise<void> {
    this.#pool.claim(port);
    await this.#hold(port);
  }

  async release(port: number): Promise<void> {
    await this.#letGo(port);
    this.#pool.release(port);
  }

  async #hold(port: number): Promise<boolean> {
    const server = await holdPort(port);
    if (server) this.#held.set(port, server);
    return server !== undefined;
  }

  async #letGo(port: number): Promise<void> {
    const server = this.#held.get(port);
    this.#held.delete(port);
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #readOffset(): Promise<number> {
    try {
      return stateSchema.parse(JSON.parse(await readFile(this.#options.stateFile, 'utf8'))).offset;
    } catch {
      // None yet, or not readable as one: any place is good to begin at.
      return 0;
    }
  }

  /** Not durable: after a crash of the machine nobody remembers the ports. */
  #saveOffset(): void {
    const { stateFile, logger } = this.#options;
    this.#saving = this.#saving
      .then(async () => {
        await mkdir(dirname(stateFile), { recursive: true });
        await writeFileAtomically(stateFile, JSON.stringify({ offset: this.#pool.offset }), { durable: false });
      })
      .catch((error: unknown) => logger.warn('cannot save the position in the port pool', errorData(error)));
  }
}

function checkPort(name: string, port: number): void {
  if (Number.isInteger(port) && port >= 0 && port <= largestPort) return;
  throw new InvalidSpecError(`netIn.${name}: ${port} is not a port (0 to ${largestPort})`);
}
