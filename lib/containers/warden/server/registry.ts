import { UnknownContainerError, WardenError } from '../errors.js';
import type { WardenContainer } from './container.js';

/** Containers by handle; a handle is taken from the moment its creation begins. */
export class Registry {
  readonly #containers = new Map<string, WardenContainer>();
  readonly #creations = new Set<string>();

  get containers(): WardenContainer[] {
    return [...this.#containers.values()];
  }

  get handles(): string[] {
    return [...this.#containers.keys()];
  }

  /** @throws UnknownContainerError */
  find(handle: string): WardenContainer {
    const container = this.#containers.get(handle);
    if (!container) throw new UnknownContainerError();
    return container;
  }

  add(container: WardenContainer): void {
    this.#containers.set(container.handle, container);
  }

  remove(container: WardenContainer): void {
    if (this.#containers.get(container.handle) === container) this.#containers.delete(container.handle);
  }

  /**
   * Keeps a handle for a container that is being made, which is added when it is there.
   *
   * @throws WardenError when it is taken
   */
  async making(handle: string, make: () => Promise<WardenContainer>): Promise<WardenContainer> {
    if (this.#containers.has(handle) || this.#creations.has(handle)) {
      throw new WardenError(`container with handle: ${handle} already exists.`);
    }
    this.#creations.add(handle);
    try {
      const container = await make();
      this.add(container);
      return container;
    } finally {
      this.#creations.delete(handle);
    }
  }
}
