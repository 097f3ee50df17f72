import { type BlobServer, sha1 } from './blob-server.js';
import { makeDroplet } from './droplets.js';
import { eventually } from './eventually.js';
import type { Message, Peer } from './peer.js';
import { startMessage } from './start-message.js';

/** An instance that was found on the bus. */
export interface FoundInstance {
  app: string;
  /** The start message. */
  message: Message;
  /** The answer to `dea.find.droplet`, with statistics where it runs. */
  found: Message;
}

/** The Cloud Controller's part in starting, finding and stopping apps, over a peer. */
export class AppRunner {
  private constructor(
    private readonly peer: Peer,
    private readonly droplet: { sha1: string; executableUri: string },
  ) {}

  static async create(peer: Peer, blobs: BlobServer): Promise<AppRunner> {
    const droplet = await makeDroplet();
    return new AppRunner(peer, { sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet) });
  }

  message(overrides: Message = {}): Message {
    return startMessage({ ...this.droplet, ...overrides });
  }

  /** Sends a start message to a cell; gives it. */
  start(cellId: string, overrides: Message = {}): Message {
    const message = this.message(overrides);
    this.peer.publish(`dea.${cellId}.start`, message);
    return message;
  }

  async startAndWait(cellId: string, overrides: Message = {}): Promise<FoundInstance> {
    const message = this.start(cellId, overrides);
    const found = await this.waitFor(message.droplet, 'RUNNING');
    return { app: message.droplet, message, found };
  }

  /** Waits until the app has an instance in the state. */
  waitFor(app: string, state: string, timeoutMs = 60_000): Promise<Message> {
    return eventually(() => this.find(app, { states: [state], include_stats: true }), {
      timeoutMs,
      what: `an instance in state ${state}`,
    });
  }

  /** The first answer of a cell about the app; undefined when there is none within half a second. */
  async find(app: string, filter: Message = {}): Promise<Message | undefined> {
    return (await this.peer.request('dea.find.droplet', { droplet: app, ...filter }, { timeoutMs: 500 }))[0];
  }

  stop(app: string, fields: Message = {}): void {
    this.peer.publish('dea.stop', { droplet: app, ...fields });
  }
}

/** What an app says at a path of its own port, within five seconds: one that is torn down may never answer. */
export async function askApp(found: Message, path: string): Promise<string> {
  const { host, port } = found.stats;
  return (await fetch(`http://${host}:${port}${path}`, { signal: AbortSignal.timeout(5_000) })).text();
}
