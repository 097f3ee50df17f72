import type { Readable } from 'node:stream';
import type {
  Container,
  ContainerEvent,
  ContainerInfo,
  ContainerMetrics,
  ContainerProcess,
  Limits,
  NetOutRule,
  PortMapping,
  ProcessIO,
  ProcessSpec,
  Properties,
  StopOptions,
} from '../../engine.js';
import { decodeBody } from '../json/decode.js';
import { netIn, netInBody } from '../messages/container-spec.js';
import { nanosecondsOf } from '../messages/durations.js';
import { containerInfo, containerInfoFrom } from '../messages/info.js';
import { bandwidthFrom, bandwidthLimits, cpuLimits, diskFrom, diskLimits, memoryLimits } from '../messages/limits.js';
import { containerMetrics, metricsFrom } from '../messages/metrics.js';
import { netOutRuleBody } from '../messages/net-out.js';
import { processSpecBody } from '../messages/process-spec.js';
import { ownProperties } from '../messages/properties.js';
import type { PathParameters, RouteName } from '../routes.js';
import type { EventWatch } from './event-watch.js';
import type { Call, GardenCalls, ServerAddress } from './garden-calls.js';
import { hijack } from './hijacked-connection.js';
import { LastingProcess } from './lasting-process.js';
import { RemoteProcess } from './remote-process.js';

export interface RemoteContainerOptions {
  handle: string;
  address: ServerAddress;
  calls: GardenCalls;
  events: EventWatch;
  /** Breaks off the connections of processes. */
  signal: AbortSignal;
}

/** A verb of the engine that the Garden API does not have. */
export class UnsupportedVerbError extends Error {
  constructor(what: string) {
    super(`the Garden API has no call for it: ${what}`);
  }
}

/** A container of a Garden server. */
export class RemoteContainer implements Container {
  readonly handle: string;
  readonly #options: RemoteContainerOptions;
  /** Those who are given the output of processes. */
  readonly #readers = new Set<LastingProcess>();

  constructor(options: RemoteContainerOptions) {
    this.handle = options.handle;
    this.#options = options;
  }

  /** Output is kept for whoever attaches, also when `spec` asks to discard it: the API cannot ask for that. */
  async run(spec: ProcessSpec, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.#begin({ name: 'run', body: processSpecBody(spec) }, io);
  }

  /** Gives output as `undelivered` says, whatever `io` asks for. */
  async attach(processId: string, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.#begin({ name: 'attach', parameters: { pid: processId } }, io);
  }

  async streamIn({ path, user, tar }: { path: string; user?: string; tar: Readable }): Promise<void> {
    await this.#options.calls.send(this.#call({ name: 'streamIn', query: { destination: path, user } }), tar);
  }

  async streamOut({ path, user }: { path: string; user?: string }): Promise<Readable> {
    return this.#options.calls.receive(this.#call({ name: 'streamOut', query: { source: path, user } }));
  }

  async netIn(request: { hostPort?: number; containerPort?: number } = {}): Promise<PortMapping> {
    const answer = decodeBody(await this.#ask({ name: 'netIn', body: netInBody(request) }), netIn);
    return { hostPort: answer.host_port ?? 0, containerPort: answer.container_port ?? 0 };
  }

  async netOut(rules: NetOutRule[]): Promise<void> {
    await this.#ask({ name: 'bulkNetOut', body: rules.map(netOutRuleBody) });
  }

  /** @throws UnsupportedVerbError: limits are fixed when a container is made */
  async limit(): Promise<void> {
    throw new UnsupportedVerbError(`changing the limits of container ${this.handle}`);
  }

  async limits(): Promise<Limits> {
    const [memory, cpu, disk, bandwidth, { pids }] = await Promise.all([
      this.#ask({ name: 'memoryLimits' }).then((text) => decodeBody(text, memoryLimits)),
      this.#ask({ name: 'cpuLimits' }).then((text) => decodeBody(text, cpuLimits)),
      this.#ask({ name: 'diskLimits' }).then((text) => diskFrom(decodeBody(text, diskLimits))),
      this.#ask({ name: 'bandwidthLimits' }).then((text) => bandwidthFrom(decodeBody(text, bandwidthLimits))),
      this.metrics(),
    ]);
    return {
      ...(memory.limit_in_bytes && { memoryBytes: memory.limit_in_bytes }),
      ...(cpu.limit_in_shares && { cpuShares: cpu.limit_in_shares }),
      ...(disk && { disk }),
      ...(bandwidth && { bandwidth }),
      ...(pids.max > 0 && { maxPids: pids.max }),
    };
  }

  async info(): Promise<ContainerInfo> {
    const info = containerInfoFrom(decodeBody(await this.#ask({ name: 'info' }), containerInfo));
    return { ...info, properties: ownProperties(info.properties) };
  }

  async metrics(): Promise<ContainerMetrics> {
    return metricsFrom(decodeBody(await this.#ask({ name: 'metrics' }), containerMetrics));
  }

  async properties(): Promise<Properties> {
    return (await this.info()).properties;
  }

  async setProperty(name: string, value: string): Promise<void> {
    await this.#ask({ name: 'setProperty', parameters: { key: name }, body: { value } });
  }

  /** The server does not mind when there is none, so it is asked before. */
  async removeProperty(name: string): Promise<void> {
    await this.#ask({ name: 'property', parameters: { key: name } });
    await this.#ask({ name: 'removeProperty', parameters: { key: name } });
  }

  async setGraceTime(graceTimeMs: number): Promise<void> {
    await this.#ask({ name: 'setGraceTime', body: nanosecondsOf(graceTimeMs) });
  }

  /** The time between TERM and KILL is the server's. */
  async stop({ kill = false }: StopOptions = {}): Promise<void> {
    await this.#ask({ name: 'stop', body: { kill } });
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    return this.#options.events.listen(this.handle, listener);
  }

  async #begin(call: Call, io: ProcessIO): Promise<ContainerProcess> {
    const process = await this.#join(call, io);
    const { stdout, stderr } = io;
    const isReader = stdout !== undefined || stderr !== undefined;
    const lasting = new LastingProcess({
      process,
      rejoin: async () => {
        // What nobody was given yet belongs to the first who attaches, whether he reads it or not.
        if (!isReader) await Promise.all([...this.#readers].map((reader) => reader.joined()));
        return this.#join(
          { name: 'attach', parameters: { pid: process.id } },
          { ...(stdout && { stdout }), ...(stderr && { stderr }) },
        );
      },
      signal: this.#options.signal,
    });
    if (isReader) this.#keepReader(lasting);
    return lasting;
  }

  #keepReader(reader: LastingProcess): void {
    this.#readers.add(reader);
    const forget = () => this.#readers.delete(reader);
    reader.wait().then(forget, forget);
  }

  async #join(call: Call, io: ProcessIO): Promise<RemoteProcess> {
    const { address, signal } = this.#options;
    const parametersOf = (processId: string, streamId: string): PathParameters => ({
      handle: this.handle,
      pid: processId,
      streamid: streamId,
    });
    return RemoteProcess.begin({
      connection: await hijack(address, this.#call(call), signal),
      io,
      openOutput: (processId, streamId, name: RouteName) =>
        hijack(address, { name, parameters: parametersOf(processId, streamId) }, signal),
    });
  }

  #ask(call: Call): Promise<Buffer> {
    return this.#options.calls.call(this.#call(call));
  }

  #call(call: Call): Call {
    return { ...call, parameters: { handle: this.handle, ...call.parameters } };
  }
}
