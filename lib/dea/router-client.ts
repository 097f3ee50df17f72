import type { Bus } from '../bus/bus.js';
import type { Instance } from './instances/instance.js';
import { type RouteRegistration, subjects } from './messages.js';

export interface RouterClientOptions {
  bus: Bus;
  agentId: string;
  index: number;
  localIp: string;
  /** Host name and port under which users reach the directory server. */
  directoryServer: { uri: string; port: () => number };
}

/** Tells the routers where instances and the directory server answer (docs/protocol/dea.md §5.10). */
export class RouterClient {
  constructor(private readonly options: RouterClientOptions) {}

  registerInstance(instance: Instance, uris = instance.attributes.applicationUris): void {
    this.options.bus.publish(subjects.routerRegister, this.instanceRoute(instance, uris));
  }

  unregisterInstance(instance: Instance, uris = instance.attributes.applicationUris): void {
    this.options.bus.publish(subjects.routerUnregister, this.instanceRoute(instance, uris));
  }

  registerDirectoryServer(): void {
    this.options.bus.publish(subjects.routerRegister, this.directoryServerRoute());
  }

  unregisterDirectoryServer(): void {
    this.options.bus.publish(subjects.routerUnregister, this.directoryServerRoute());
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
