import type { Bus } from '../bus/bus.js';
import type { Instance } from './instances/instance.js';
import { type RouteRegistration, subjects } from './messages.js';

export interface RouterClientOptions {
  bus: Bus;
  agentId: string;
  index: number;
  localIp: string;
  /** Whether an instance that is to be routed has this host port. */
  isPortServing(port: number): boolean;
  /** Host name and port under which users reach the directory server. */
  directoryServer: { uri: string; port: () => number };
}

/** A refresh that was on its way when a route was taken away must not bring it back (docs/protocol/dea.md §26). */
const repeatAfterMs = 1_000;

/** Tells the routers where instances and the directory server answer (docs/protocol/dea.md §5.10). */
export class RouterClient {
  /** Routes whose withdrawal is to be repeated. */
  private readonly repeats = new Map<NodeJS.Timeout, RouteRegistration>();

  constructor(private readonly options: RouterClientOptions) {}

  /** Says now what was to be repeated. Idempotent. */
  stop(): void {
    for (const [timer, route] of this.repeats) {
      clearTimeout(timer);
      this.repeat(route);
    }
    this.repeats.clear();
  }

  registerInstance(instance: Instance, uris = instance.attributes.applicationUris): void {
    this.options.bus.publish(subjects.routerRegister, this.instanceRoute(instance, uris));
  }

  unregisterInstance(instance: Instance, uris = instance.attributes.applicationUris): void {
    this.options.bus.publish(subjects.routerUnregister, this.instanceRoute(instance, uris));
  }

  /** Takes all routes of an instance away that ends, and once more a second later. */
  withdrawInstance(instance: Instance): void {
    const route = this.instanceRoute(instance, instance.attributes.applicationUris);
    this.options.bus.publish(subjects.routerUnregister, route);
    if (route.port === null || route.uris.length === 0) return;
    const timer = setTimeout(() => {
      this.repeats.delete(timer);
      this.repeat(route);
    }, repeatAfterMs);
    this.repeats.set(timer, route);
  }

  registerDirectoryServer(): void {
    this.options.bus.publish(subjects.routerRegister, this.directoryServerRoute());
  }

  unregisterDirectoryServer(): void {
    this.options.bus.publish(subjects.routerUnregister, this.directoryServerRoute());
  }

  /** A port that another instance has got meanwhile is that one's. */
  private repeat(route: RouteRegistration): void {
    if (this.options.isPortServing(route.port!)) return;
    this.options.bus.publish(subjects.routerUnregister, route);
  }

  private instanceRoute(instance: Instance, uris: string[]): RouteRegistration {
    const { agentId, index, localIp } = this.options;
    return {
      dea: agentId,
      app: instance.attributes.applicationId,
      uris,
      host: localIp,
      port: instance.hostPort,
      tags: { component: `dea-${index}` },
      private_instance_id: instance.attributes.privateInstanceId,
    };
  }

  private directoryServerRoute(): RouteRegistration {
    const { localIp, index, directoryServer } = this.options;
    return {
      host: localIp,
      port: directoryServer.port(),
      uris: [directoryServer.uri],
      tags: { component: `directory-server-${index}` },
    };
  }
}
