import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../../logging/logger.js';
import type {
  Capacity,
  Container,
  ContainerEngine,
  ContainerInfo,
  ContainerMetrics,
  ContainerSpec,
  Properties,
} from '../../engine.js';
import { InvalidSpecError, UnknownHandleError } from '../../errors.js';
import { decodeBody, firstValue, list, message, type Shape, string } from '../json/decode.js';
import { containerSpecBody } from '../messages/container-spec.js';
import { bulkError, bulkErrorFrom, UnrecoverableError } from '../messages/errors.js';
import { containerInfo, containerInfoFrom } from '../messages/info.js';
import { capacity, capacityFrom, containerMetrics, metricsFrom } from '../messages/metrics.js';
import { ownProperties } from '../messages/properties.js';
import type { RouteName } from '../routes.js';
import { EventWatch } from './event-watch.js';
import { GardenCalls, type ServerAddress } from './garden-calls.js';
import { RemoteContainer } from './remote-container.js';

export interface GardenEngineOptions {
  address: ServerAddress;
  /** How long `start` tries to reach the server. @default 30000 */
  patienceMs?: number;
  logger: Logger;
}

const defaultPatienceMs = 30_000;
const pingIntervalMs = 200;

const handles = message('Handles', { Handles: list(string, 'string') });
const handle = message('Handle', { Handle: string });
const infoEntry = message('ContainerInfoEntry', { Info: containerInfo, Err: bulkError });
const metricsEntry = message('ContainerMetricsEntry', { Metrics: containerMetrics, Err: bulkError });

/** A container engine that is a Garden server elsewhere: ours, or upstream's (docs/protocol/containers.md, Part 2). */
export class GardenEngine implements ContainerEngine {
  readonly isolation = 'oci';
  readonly #options: GardenEngineOptions;
  readonly #calls: GardenCalls;
  readonly #events: EventWatch;
  readonly #closing = new AbortController();
  /** One per handle, so that who looks it up again has the same one. */
  readonly #containers = new Map<string, RemoteContainer>();

  constructor(options: GardenEngineOptions) {
    this.#options = options;
    // Every attached connection listens.
    setMaxListeners(0, this.#closing.signal);
    this.#calls = new GardenCalls(options.address);
    this.#events = new EventWatch({ ask: (wanted) => this.bulkInfo(wanted), logger: options.logger });
  }

  /** @throws when the server does not answer in time, or says that it never will */
  async start(): Promise<void> {
    const deadline = performance.now() + (this.#options.patienceMs ?? defaultPatienceMs);
    for (;;) {
      try {
        await this.#calls.call({ name: 'ping' });
        return;
      } catch (error) {
        if (error instanceof UnrecoverableError || performance.now() > deadline) throw error;
      }
      await delay(pingIntervalMs, undefined, { signal: this.#closing.signal });
    }
  }

  /** Closes all connections; the server and its containers live on. Idempotent. */
  async stop(): Promise<void> {
    this.#events.stop();
    this.#calls.close();
    this.#closing.abort();
  }

  /** What is on the host is the server's. */
  async release(): Promise<void> {
    await this.stop();
  }

  async create(spec: ContainerSpec): Promise<Container> {
    // Nothing at all is how the API asks for a handle.
    if (spec.handle === '') throw new InvalidSpecError('handle: must not be empty');
    const answer = await this.#calls.call({ name: 'create', body: containerSpecBody(spec) });
    const { Handle: made = '' } = decodeBody(answer, handle);
    this.#containers.delete(made);
    return this.#container(made);
  }

  async list(filter: Properties = {}): Promise<Container[]> {
    const { Handles: found } = decodeBody(await this.#calls.call({ name: 'list', query: filter }), handles);
    return (found ?? []).map((one) => this.#container(one));
  }

  async lookup(wanted: string): Promise<Container> {
    const found = (await this.list()).find((container) => container.handle === wanted);
    if (found) return found;
    this.#containers.delete(wanted);
    throw new UnknownHandleError(wanted);
  }

  async destroy(wanted: string): Promise<void> {
    await this.#calls.call({ name: 'destroy', parameters: { handle: wanted } });
    this.#containers.delete(wanted);
  }

  async capacity(): Promise<Capacity> {
    return capacityFrom(decodeBody(await this.#calls.call({ name: 'capacity' }), capacity));
  }

  bulkInfo(wanted: string[]): Promise<Map<string, ContainerInfo | Error>> {
    return this.#bulk('bulkInfo', wanted, infoEntry, ({ Info, Err }) => {
      if (Err) return bulkErrorFrom(Err);
      const info = containerInfoFrom(Info ?? decodeBody(emptyObject, containerInfo));
      return { ...info, properties: ownProperties(info.properties) };
    });
  }

  bulkMetrics(wanted: string[]): Promise<Map<string, ContainerMetrics | Error>> {
    return this.#bulk('bulkMetrics', wanted, metricsEntry, ({ Metrics, Err }) =>
      Err ? bulkErrorFrom(Err) : metricsFrom(Metrics ?? decodeBody(emptyObject, containerMetrics)),
    );
  }

  async #bulk<Entry, Result>(
    name: RouteName,
    wanted: string[],
    shape: Shape<Entry>,
    resultOf: (entry: Entry) => Result,
  ): Promise<Map<string, Result>> {
    if (wanted.length === 0) return new Map();
    const answer = firstValue(await this.#calls.call({ name, query: { handles: wanted.join(',') } }));
    return new Map(
      Object.entries(answer ?? {}).map(([key, entry]) => [key, resultOf(shape(entry, { message: '', path: [key] })!)]),
    );
  }

  #container(name: string): RemoteContainer {
    const known = this.#containers.get(name);
    if (known) return known;
    const container = new RemoteContainer({
      handle: name,
      address: this.#options.address,
      calls: this.#calls,
      events: this.#events,
      signal: this.#closing.signal,
    });
    this.#containers.set(name, container);
    return container;
  }
}

const emptyObject = Buffer.from('{}');

/** A client of a Garden server as a container engine; call `start` before anything else. */
export function createGardenEngine(options: GardenEngineOptions): ContainerEngine {
  return new GardenEngine(options);
}
