import type { Bus } from '../bus/bus.js';
import type { Hm9000Client } from './health-manager/hm9000-client.js';
import type { Instance } from './instances/instance.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import { type HeartbeatEntry, type HeartbeatMessage, type InstanceState, subjects } from './messages.js';

const reportedStates: readonly InstanceState[] = ['STARTING', 'RUNNING', 'CRASHED', 'EVACUATING'];

export interface HeartbeatOptions {
  bus: Bus;
  agentId: string;
  instances: InstanceRegistry;
  /** Whether heartbeats go over NATS (docs/protocol/dea.md §22). @default true */
  isOnBus?: boolean;
  /** The health manager that takes them over HTTPS, when there is one. */
  hm9000?: Hm9000Client | undefined;
  /** Told of each heartbeat that went over NATS. */
  onPublish?(): void;
}

/** Reports the agent's instances to the health managers, on every way that they listen (docs/protocol/dea.md §5.11). */
export class Heartbeat {
  private isPending = false;

  constructor(private readonly options: HeartbeatOptions) {}

  send(): void {
    const { bus, isOnBus = true, hm9000, onPublish } = this.options;
    if (isOnBus) {
      bus.publish(subjects.heartbeat, this.message());
      onPublish?.();
    }
    hm9000?.send(() => this.message());
  }

  /** Several changes of one moment make one heartbeat. */
  sendSoon(): void {
    if (this.isPending) return;
    this.isPending = true;
    setImmediate(() => {
      this.isPending = false;
      this.send();
    });
  }

  private message(): HeartbeatMessage {
    const { agentId, instances } = this.options;
    return {
      dea: agentId,
      droplets: instances
        .all()
        .filter((instance) => reportedStates.includes(instance.state))
        .map(heartbeatEntry),
    };
  }
}

function heartbeatEntry({ attributes, state, stateSinceMs }: Instance): HeartbeatEntry {
  return {
    cc_partition: attributes.ccPartition,
    droplet: attributes.applicationId,
    version: attributes.applicationVersion,
    instance: attributes.instanceId,
    index: attributes.instanceIndex,
    state,
    state_timestamp: stateSinceMs / 1000,
  };
}
