import type { Bus } from '../bus/bus.js';
import type { Instance } from './instances/instance.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import { type HeartbeatEntry, type InstanceState, subjects } from './messages.js';

const reportedStates: readonly InstanceState[] = ['STARTING', 'RUNNING', 'CRASHED', 'EVACUATING'];

export interface HeartbeatOptions {
  bus: Bus;
  agentId: string;
  instances: InstanceRegistry;
}

/** Reports the agent's instances to the health manager (docs/protocol/dea.md §5.11). */
export class Heartbeat {
  private isPending = false;

  constructor(private readonly options: HeartbeatOptions) {}

  send(): void {
    const { bus, agentId, instances } = this.options;
    bus.publish(subjects.heartbeat, {
      dea: agentId,
      droplets: instances
        .all()
        .filter((instance) => reportedStates.includes(instance.state))
        .map(heartbeatEntry),
    });
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
