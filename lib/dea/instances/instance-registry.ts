import type { InstanceFilter } from '../messages.js';
import type { Instance } from './instance.js';

/** The agent's instances by id. */
export class InstanceRegistry {
  private readonly byId = new Map<string, Instance>();

  register(instance: Instance): void {
    this.byId.set(instance.id, instance);
  }

  unregister(instance: Instance): void {
    if (this.byId.get(instance.id) === instance) this.byId.delete(instance.id);
  }

  get(id: string): Instance | undefined {
    return this.byId.get(id);
  }

  /** Gives an instance another id, so that the health manager sees a new one (docs/protocol/dea.md §13.3). */
  rename(instance: Instance, id: string): void {
    this.unregister(instance);
    instance.attributes.instanceId = id;
    this.register(instance);
  }

  all(): Instance[] {
    return [...this.byId.values()];
  }

  ofApplication(applicationId: string): Instance[] {
    return this.all().filter((instance) => instance.attributes.applicationId === applicationId);
  }

  /** Whether an instance that is to be routed answers on this host port. */
  hasServing(hostPort: number): boolean {
    for (const instance of this.byId.values()) {
      if (instance.hostPort === hostPort && instance.isServing) return true;
    }
    return false;
  }

  /** Instances that every given filter admits (docs/protocol/dea.md §5.4). */
  matching(filter: InstanceFilter): Instance[] {
    const ids = [...(filter.instances ?? []), ...(filter.instance_ids ?? [])];
    const admits = (list: unknown[] | null | undefined, value: unknown) => !list?.length || list.includes(value);
    return this.ofApplication(filter.droplet).filter(
      (instance) =>
        (filter.version == null || filter.version === instance.attributes.applicationVersion) &&
        admits(ids, instance.id) &&
        admits(filter.indices, instance.attributes.instanceIndex) &&
        admits(filter.states, instance.state),
    );
  }

  /** Instances per application, crashed ones included: what the Cloud Controller places by. */
  countByApplication(): Record<string, number> {
    const counts = new Map<string, number>();
    for (const { attributes } of this.byId.values()) {
      counts.set(attributes.applicationId, (counts.get(attributes.applicationId) ?? 0) + 1);
    }
    return Object.fromEntries(counts);
  }
}
