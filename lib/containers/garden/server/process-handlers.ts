import { PassThrough } from 'node:stream';
import type { Container, ContainerEngine, ContainerProcess } from '../../engine.js';
import { decodeBody } from '../json/decode.js';
import { processSpec, processSpecFrom } from '../messages/process-spec.js';
import type { Exchange } from './exchange.js';
import { type AttachOutput, OutputStream } from './output-stream.js';
import { ProcessConnection } from './process-connection.js';
import { type OutputStreams, StreamRegistry } from './stream-registry.js';

type OutputName = keyof OutputStreams;

/** Run, Attach, and the outputs that belong to them (docs/protocol/containers.md §2.5). */
export class ProcessHandlers {
  readonly #engine: ContainerEngine;
  readonly #streams = new StreamRegistry();
  readonly #connections = new Set<ProcessConnection>();
  readonly #serving = new Set<Promise<unknown>>();
  readonly #forgetsDelivered: boolean;
  #isStopping = false;

  constructor(engine: ContainerEngine, { forgetsDelivered }: { forgetsDelivered: boolean }) {
    this.#engine = engine;
    this.#forgetsDelivered = forgetsDelivered;
  }

  async run(exchange: Exchange): Promise<void> {
    const spec = processSpecFrom(decodeBody(await exchange.body(), processSpec));
    const container = await this.#engine.lookup(exchange.handle);
    const stdin = openInput();
    try {
      const process = await container.run(spec, { stdin });
      // The engine keeps the output until the client asks for it, unless the process may be forgotten before.
      const output = async (name: OutputName, ended: Promise<void>) => {
        const attach = attachOutput(container, process.id, name, 'start');
        return this.#forgetsDelivered ? OutputStream.capture(attach, ended) : OutputStream.onDemand(attach, ended);
      };
      await this.#begin(exchange, '201 Created', process, stdin, async (ended) => {
        const [stdout, stderr] = await Promise.all([output('stdout', ended), output('stderr', ended)]);
        return { stdout, stderr };
      });
    } catch (error) {
      stdin.destroy();
      throw error;
    }
  }

  async attach(exchange: Exchange): Promise<void> {
    const container = await this.#engine.lookup(exchange.handle);
    const id = exchange.parameter('pid');
    const stdin = openInput();
    try {
      const process = await container.attach(id, { stdin });
      const output = (name: OutputName, ended: Promise<void>) =>
        OutputStream.capture(attachOutput(container, id, name, 'undelivered'), ended);
      await this.#begin(exchange, '200 OK', process, stdin, async (ended) => {
        const [stdout, stderr] = await Promise.all([output('stdout', ended), output('stderr', ended)]);
        return { stdout, stderr };
      });
    } catch (error) {
      stdin.end();
      throw error;
    }
  }

  /** Gives one output to its reader; of an unknown stream there is nothing to give. */
  async serveOutput(exchange: Exchange, name: OutputName): Promise<void> {
    const stream = this.#streams.find(exchange.parameter('streamid'))?.[name];
    const connection = exchange.takeOver('200 OK');
    connection.socket.on('error', () => {});
    if (stream === undefined) {
      connection.socket.destroySoon();
      return;
    }
    this.#keep(stream.serve(connection));
  }

  /** Closes the connections of all processes without a word about their exits; the processes live on. */
  closeConnections(): void {
    this.#isStopping = true;
    for (const connection of this.#connections) connection.close();
  }

  /** Cuts off who still reads. Resolves when nothing is left. */
  async stop(): Promise<void> {
    this.closeConnections();
    this.#streams.stop();
    await Promise.allSettled(this.#serving);
  }

  async #begin(
    exchange: Exchange,
    status: '201 Created' | '200 OK',
    process: ContainerProcess,
    stdin: PassThrough,
    openStreams: (ended: Promise<void>) => Promise<OutputStreams>,
  ): Promise<void> {
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const streamId = this.#streams.add(await openStreams(ended));
    const taken = exchange.takeOver(status, ['Content-Type: application/json']);
    const forgets = this.#forgetsDelivered;
    const connection = new ProcessConnection({ connection: taken, process, stdin, streamId, forgets });
    this.#connections.add(connection);
    this.#keep(this.#converse(connection, streamId).finally(end));
    if (this.#isStopping) connection.close();
  }

  async #converse(connection: ProcessConnection, streamId: string): Promise<void> {
    const end = await connection.converse().finally(() => this.#connections.delete(connection));
    if (end === 'client left') this.#streams.abandon(streamId);
    else if (end === 'gibberish') this.#streams.close(streamId);
    else this.#streams.expire(streamId);
  }

  /** What goes on after its request was answered. */
  #keep(work: Promise<unknown>): void {
    const kept = work.catch(() => {}).finally(() => this.#serving.delete(kept));
    this.#serving.add(kept);
  }
}

function openInput(): PassThrough {
  // Nobody but the engine cares for what goes wrong behind it.
  return new PassThrough().on('error', () => {});
}

function attachOutput(
  container: Container,
  processId: string,
  name: OutputName,
  outputFrom: 'start' | 'undelivered',
): AttachOutput {
  return (sink) => container.attach(processId, { [name]: sink, outputFrom });
}
