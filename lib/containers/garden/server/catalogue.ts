import { randomUUID } from 'node:crypto';
import type { Capacity, Container, ContainerEngine, ContainerSpec, Properties } from '../../engine.js';
import { ExhaustedError, HandleInUseError } from '../../errors.js';
import { backendProperties, createdState, graceTimeProperty, visibleProperties } from '../messages/properties.js';
import type { GardenSettings } from './settings.js';

/** A filter with this value for `garden.state` finds containers in every state. */
const anyState = 'all';

/** A container is being destroyed already; the text is what clients know. */
export class AlreadyDestroyingError extends Error {
  constructor() {
    super('container already being destroyed');
  }
}

/** The containers of a Garden server: how they come, are found and go (docs/protocol/containers.md §3.8, §3.9). */
export class Catalogue {
  readonly #engine: ContainerEngine;
  readonly #settings: GardenSettings;
  /** Properties of the containers that are being made. */
  readonly #creations = new Map<string, Properties>();
  readonly #destructions = new Set<string>();

  constructor(engine: ContainerEngine, settings: GardenSettings) {
    this.#engine = engine;
    this.#settings = settings;
  }

  async create(given: ContainerSpec): Promise<Container> {
    const { disablePrivilegedContainers, defaultRootfs, defaultGraceTimeMs = 0 } = this.#settings;
    const handle = given.handle ?? randomUUID();
    if (given.privileged && disablePrivilegedContainers) throw new Error('privileged container creation is disabled');
    if (this.#creations.has(handle)) throw new HandleInUseError(handle);
    const rootfs = given.rootfs ?? defaultRootfs;
    const graceTimeMs = given.graceTimeMs || defaultGraceTimeMs;
    const properties = { ...given.properties, ...(graceTimeMs > 0 && graceTimeProperty(graceTimeMs)) };
    this.#creations.set(handle, properties);
    try {
      await this.#checkRoom(handle);
      const spec = { ...given, handle, properties, ...(rootfs !== undefined && { rootfs }) };
      return await this.#engine.create({ ...spec, ...(graceTimeMs > 0 && { graceTimeMs }) });
    } finally {
      this.#creations.delete(handle);
    }
  }

  /** Handles of the containers that have every given property with that value; of those alone that are made. */
  async list(filter: Properties): Promise<string[]> {
    const { [backendProperties.state]: state = createdState, ...wanted } = filter;
    const created = [createdState, anyState].includes(state) ? await this.#created(wanted) : [];
    const beingMade = state === anyState ? [...this.#creations].filter(([, had]) => has(had, wanted)) : [];
    return [...new Set([...created, ...beingMade.map(([handle]) => handle)])].sort();
  }

  /** @throws AlreadyDestroyingError, UnknownHandleError */
  async destroy(handle: string): Promise<void> {
    if (this.#destructions.has(handle)) throw new AlreadyDestroyingError();
    this.#destructions.add(handle);
    try {
      await this.#engine.destroy(handle);
    } finally {
      this.#destructions.delete(handle);
    }
  }

  async capacity(): Promise<Capacity> {
    const capacity = await this.#engine.capacity();
    const { maxContainers } = this.#settings;
    return maxContainers ? { ...capacity, maxContainers: Math.min(maxContainers, capacity.maxContainers) } : capacity;
  }

  async #created(wanted: Properties): Promise<string[]> {
    const handlesOf = (containers: Container[]) => containers.map(({ handle }) => handle);
    if (Object.keys(wanted).every((name) => !isSynthetic(name))) return handlesOf(await this.#engine.list(wanted));
    const infos = await this.#engine.bulkInfo(handlesOf(await this.#engine.list()));
    return [...infos].flatMap(([handle, info]) =>
      !(info instanceof Error) && has(visibleProperties(info), wanted) ? [handle] : [],
    );
  }

  /** A taken handle is the better reason to refuse. */
  async #checkRoom(handle: string): Promise<void> {
    const { maxContainers } = this.#settings;
    if (!maxContainers) return;
    const handles = (await this.#engine.list()).map((container) => container.handle);
    if (handles.includes(handle)) throw new HandleInUseError(handle);
    const count = new Set([...handles, ...this.#creations.keys()]).size;
    if (count > maxContainers) throw new ExhaustedError('max containers reached');
  }
}

function isSynthetic(name: string): boolean {
  return name.startsWith('garden.network.') || name.startsWith('rundmc.');
}

function has(properties: Properties, wanted: Properties): boolean {
  return Object.entries(wanted).every(([name, value]) => properties[name] === value);
}
