import type { Bus, BusMessage, Subscription } from '../../bus/bus.js';
import type { Ledger } from '../../cell/ledger.js';
import type { DeaConfig, LegacyProtocol } from '../config.js';
import type { Heartbeat } from '../heartbeat.js';
import type { InstanceRegistry } from '../instances/instance-registry.js';
import { discoverSchema, instanceFilterSchema, parseMessage, protocolVersion, subjects } from '../messages.js';
import { Discovery } from './discovery.js';
import type { Locator } from './locator.js';

const mebibyte = 1024 * 1024;

export interface LegacyResponderOptions {
  bus: Bus;
  config: DeaConfig;
  agentId: string;
  localIp: string;
  ledger: Ledger;
  instances: InstanceRegistry;
  locator: Locator;
  heartbeat: Heartbeat;
  /** Whether the agent takes new apps. */
  isAccepting(): boolean;
}

/** What peers before 2016 ask, each subject by the configuration's `legacy_protocols` (docs/protocol/dea.md §22). */
export class LegacyResponders {
  private subscriptions: Subscription[] = [];
  private readonly discovery: Discovery;

  constructor(private readonly options: LegacyResponderOptions) {
    const { ledger, instances, isAccepting } = options;
    this.discovery = new Discovery({ ledger, instances, isAccepting });
  }

  start(): void {
    const { heartbeat, locator } = this.options;
    this.on('healthmanager.start', subjects.healthManagerStart, () => heartbeat.send());
    this.on('dea.status', subjects.status, (message) => message.reply(this.status()));
    this.on('dea.locate', subjects.locate, () => locator.advertise());
    this.on('staging.locate', subjects.stagingLocate, () => locator.advertiseStaging());
    this.on('dea.discover', subjects.discover, (message) => this.discover(message));
    this.on('droplet.status', subjects.dropletStatus, (message) => this.dropletStatus(message));
  }

  /** Takes no more messages, and gives no late answers. Idempotent. */
  stop(): void {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.subscriptions = [];
    this.discovery.stop();
  }

  private on(protocol: LegacyProtocol, subject: string, handler: (message: BusMessage) => void): void {
    const { config, bus } = this.options;
    if (config.legacy_protocols.includes(protocol)) this.subscriptions.push(bus.subscribe(subject, handler));
  }

  private discover({ data, hasReply, reply }: BusMessage): void {
    if (!hasReply) return;
    const { droplet, limits } = parseMessage(subjects.discover, discoverSchema, data);
    this.discovery.answerSoon(droplet, { memoryMb: limits.mem, diskMb: limits.disk }, () => reply(this.offer()));
  }

  /** Where apps of before July 2013 were sent: the port is that of the directory server. */
  private offer(): Record<string, unknown> {
    const { agentId, localIp, config } = this.options;
    const { v1_port, v2_port } = config.directory_server;
    return { id: agentId, ip: localIp, port: v1_port ?? v2_port, version: protocolVersion };
  }

  private dropletStatus({ data, reply }: BusMessage): void {
    const { droplet } = parseMessage(subjects.dropletStatus, instanceFilterSchema.pick({ droplet: true }), data);
    for (const { attributes, state } of this.options.instances.ofApplication(droplet)) {
      if (state !== 'STARTING' && state !== 'RUNNING') continue;
      reply({ name: attributes.applicationName, uris: attributes.applicationUris });
    }
  }

  private status(): Record<string, unknown> {
    const { ledger, agentId, localIp, instances } = this.options;
    const usedBytes = instances.all().reduce((sum, { stats }) => sum + stats.memoryBytes, 0);
    return {
      id: agentId,
      ip: localIp,
      version: protocolVersion,
      max_memory: ledger.capacity.memoryMb,
      reserved_memory: ledger.reserved().memoryMb,
      used_memory: Math.floor(usedBytes / mebibyte),
      num_clients: null,
    };
  }
}
