import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { WardenEngine } from '../../lib/containers/warden/client/warden-engine.js';
import { decodeEnvelope, decodeResponse, encodeRequest } from '../../lib/containers/warden/protocol/codec.js';
import { encodeFrame, FrameParser } from '../../lib/containers/warden/protocol/framing.js';
import type { RequestFields, RequestName, Response, TypeName } from '../../lib/containers/warden/protocol/messages.js';
import { WardenServer, type WardenServerOptions } from '../../lib/containers/warden/server/warden-server.js';
import { silentLogger } from '../../lib/logging/logger.js';
import type { EngineSubject } from '../containers/engine-contract.js';
import { type OciSubject, startOciEngine } from './oci.js';

/** A client that speaks the protocol byte by byte, and counts on nothing. */
export class WardenPeer {
  readonly socket: Socket;
  readonly #payloads: Buffer[] = [];
  readonly #parser = new FrameParser(64 * 1024 * 1024);
  #wake: () => void = () => {};
  #isClosed = false;
  /** Resolves when the server has closed the connection, or it was closed here. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (piece: Buffer) => {
      this.#payloads.push(...this.#parser.push(piece));
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true;
        this.#wake();
        resolve();
      });
    });
  }

  static async open(path: string): Promise<WardenPeer> {
    const peer = new WardenPeer(connect(path));
    await once(peer.socket, 'connect');
    return peer;
  }

  /** Sends a request and does not wait for what comes. */
  send<Name extends RequestName>(type: Name, fields: RequestFields<Name>): void {
    this.socket.write(encodeFrame(encodeRequest(type, fields)));
  }

  /** The next payload. @throws when the connection is closed before */
  async payload(): Promise<Buffer> {
    for (;;) {
      const payload = this.#payloads.shift();
      if (payload) return payload;
      if (this.#isClosed) throw new Error('the server has closed the connection');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The next response. @throws with the server's text when it is an error */
  async receive<Name extends TypeName>(type: Name): Promise<Response<Name>> {
    const envelope = decodeEnvelope(await this.payload());
    if (envelope.type === 'Error') throw new Error(decodeResponse('Error', envelope.content).message);
    if (envelope.type !== type) throw new Error(`a response ${envelope.type} instead of ${type}`);
    return decodeResponse(type, envelope.content);
  }

  async request<Name extends RequestName>(type: Name, fields: RequestFields<Name>): Promise<Response<Name>> {
    this.send(type, fields);
    return this.receive(type);
  }

  /** All responses of a Stream request up to the last. */
  async stream(handle: string, jobId: number): Promise<Response<'Stream'>[]> {
    this.send('Stream', { handle, jobId });
    const responses: Response<'Stream'>[] = [];
    for (;;) {
      const response = await this.receive('Stream');
      responses.push(response);
      if (response.exitStatus !== undefined) return responses;
    }
  }

  async close(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }
}

/** A Warden server over a real engine, with clients that are closed with it. */
export class WardenSubject {
  readonly oci: OciSubject;
  readonly socketPath: string;
  readonly #options: Partial<WardenServerOptions>;
  readonly #peers: WardenPeer[] = [];
  #server!: WardenServer;

  private constructor(oci: OciSubject, options: Partial<WardenServerOptions>) {
    this.oci = oci;
    this.#options = options;
    this.socketPath = join(dirname(oci.settings.depotDirectory), 'warden.sock');
  }

  static async start(options: Partial<WardenServerOptions> = {}): Promise<WardenSubject> {
    const subject = new WardenSubject(await startOciEngine(), options);
    await subject.#listen();
    return subject;
  }

  get server(): WardenServer {
    return this.#server;
  }

  async open(): Promise<WardenPeer> {
    const peer = await WardenPeer.open(this.socketPath);
    this.#peers.push(peer);
    return peer;
  }

  /** One request on a connection of its own. */
  async request<Name extends RequestName>(type: Name, fields: RequestFields<Name>): Promise<Response<Name>> {
    const peer = await WardenPeer.open(this.socketPath);
    try {
      return await peer.request(type, fields);
    } finally {
      await peer.close();
    }
  }

  /** Ends server and engine, and starts others over the same depot. */
  async restart(): Promise<void> {
    await this.#server.stop();
    await this.oci.restart();
    await this.#listen();
  }

  /** Only the server; the engine goes on. */
  async restartServer(): Promise<void> {
    await this.#server.stop();
    await this.#listen();
  }

  async closePeers(): Promise<void> {
    await Promise.all(this.#peers.splice(0).map((peer) => peer.close()));
  }

  async dispose(): Promise<void> {
    await this.closePeers();
    await this.#server.stop();
    await rm(this.socketPath, { force: true });
    await this.oci.dispose();
  }

  /** The engine port over a client's connections to the server. */
  async startClient(): Promise<WardenEngine> {
    const directory = dirname(this.socketPath);
    const client = WardenEngine.create({
      socketPath: this.socketPath,
      stateFile: join(directory, 'client.json'),
      scratchDirectory: join(directory, 'scratch'),
      pollIntervalMs: 100,
      logger: silentLogger,
    });
    await client.start();
    return client;
  }

  async #listen(): Promise<void> {
    this.#server = WardenServer.create({
      engine: this.oci.engine,
      socketPath: this.socketPath,
      defaultRootfs: this.oci.rootfs,
      // Small images are quick to make.
      diskLimits: { bytes: 64 * 1024 * 1024, inodes: 10_000 },
      logger: silentLogger,
      ...this.#options,
    });
    await this.#server.start();
  }
}

/** The engine port through client and server, over a real engine. */
export async function startWardenEngine(): Promise<EngineSubject & { readonly warden: WardenSubject }> {
  const warden = await WardenSubject.start();
  let client = await warden.startClient();
  return {
    warden,
    rootfs: warden.oci.rootfs,
    get engine() {
      return client;
    },
    async restart() {
      await client.stop();
      await warden.restart();
      client = await warden.startClient();
    },
    async dispose() {
      await Promise.all((await client.list()).map(({ handle }) => client.destroy(handle)));
      await client.release();
      await warden.dispose();
    },
  };
}
