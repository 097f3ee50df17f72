import { once } from 'node:events';
import { createServer } from 'node:net';
import { ExhaustedError } from '../errors.js';

export interface HostPortsOptions {
  /** First port of the pool. */
  start: number;
  /** Number of ports in the pool. */
  size: number;
}

/** The pool of host ports. Without network namespaces a container's port is the host's port. */
export class HostPorts {
  private readonly taken = new Set<number>();

  constructor(private readonly options: HostPortsOptions) {}

  /**
   * Takes a port that nobody listens on; starts anywhere in the pool, since a neighbour may choose from the same one.
   * @throws ExhaustedError
   */
  async acquire(): Promise<number> {
    const { start, size } = this.options;
    const offset = Math.floor(Math.random() * size);
    for (let step = 0; step < size; step += 1) {
      const port = start + ((offset + step) % size);
      if (this.taken.has(port)) continue;
      this.taken.add(port);
      if (await isFree(port)) return port;
      this.taken.delete(port);
    }
    throw new ExhaustedError('no port available');
  }

  /** Marks a port as taken, from the pool or not. */
  reserve(port: number): void {
    this.taken.add(port);
  }

  release(port: number): void {
    this.taken.delete(port);
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen({ port, host: '0.0.0.0', exclusive: true }), 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
