import type { InstanceRegistry } from './instances/instance-registry.js';
import type { RouterClient } from './router-client.js';

export interface RouteRefreshOptions {
  router: RouterClient;
  instances: InstanceRegistry;
}

/**
 * Registers all routes again and again, as routers forget what is not repeated (docs/protocol/dea.md §5.10). Each time
 * they are taken from the state of that moment: an instance that is being stopped is never registered.
 */
export class RouteRefresh {
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(private readonly options: RouteRefreshOptions) {}

  /** Registers all routes now and in this interval from now on. Does nothing once stopped. */
  every(seconds: number): void {
    if (this.isStopped) return;
    clearInterval(this.timer);
    this.timer = setInterval(() => this.registerAll(), seconds * 1000);
    this.registerAll();
  }

  registerAll(): void {
    if (this.isStopped) return;
    const { router, instances } = this.options;
    for (const instance of instances.all()) {
      if (instance.isServing && instance.attributes.applicationUris.length > 0) router.registerInstance(instance);
    }
    router.registerDirectoryServer();
  }

  /** For good. Idempotent. */
  stop(): void {
    this.isStopped = true;
    clearInterval(this.timer);
  }
}
