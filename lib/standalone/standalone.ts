import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Agent } from '../dea/agent.js';
import { engineKind } from '../dea/config.js';
import { HealthManager } from '../health-manager/health-manager.js';
import { openStore } from '../health-manager/store/open-store.js';
import type { Logger } from '../logging/logger.js';
import { createStenoLogger } from '../logging/steno.js';
import { MiniCc } from '../mini-cc/mini-cc.js';
import type { Component } from '../process/program.js';
import { waitUntil } from '../process/wait.js';
import { Router } from '../router/router.js';
import { type Layout, planLayout, type StandaloneOptions } from './layout.js';
import { NatsServer } from './nats-server.js';

/** Where the build puts the builder: `dist/builder`. */
const builderDirectory = fileURLToPath(new URL('../builder', import.meta.url));
/** A cell is in the Cloud Controller's pool after its first advertisement. */
const cellLimitMs = 20_000;

export interface StandaloneEvents {
  /** A line for the person at the terminal. */
  print(line: string): void;
  /** Something ended that must not; the whole cannot go on. */
  fail(description: string): void;
}

/**
 * Everything on one machine: message bus, Cloud Controller, health manager, router and cell, in one process and its
 * children.
 */
export class Standalone implements Component {
  private readonly running: Component[] = [];
  private stopping: Promise<void> | undefined;

  constructor(
    private readonly options: StandaloneOptions,
    private readonly events: StandaloneEvents,
  ) {}

  async start(): Promise<void> {
    const { dataDirectory } = this.options;
    await mkdir(dataDirectory, { recursive: true, mode: 0o755 });
    const layout = await planLayout(this.options);
    const logger = createStenoLogger({
      source: 'Standalone',
      level: layout.controller.logging.level,
      file: join(dataDirectory, 'standalone.log'),
    });
    const nats = new NatsServer({ ...layout.nats, onUnexpectedExit: (text) => this.events.fail(text) });
    const controller = MiniCc.create({ config: layout.controller, logger, portFallback: true });
    const cell = Agent.create({ config: layout.cell, logger: logger.child({}, 'Dea'), builderDirectory });
    const router = Router.create({ config: layout.router, logger: logger.child({}, 'Router'), portFallback: true });

    // The cell's pid file is what keeps a second standalone out: it comes before all that the two would share.
    await this.run('message bus', nats.url, nats);
    await this.run('cell', `${engineKind(layout.cell)} containers in ${layout.cell.base_dir}`, cell);
    await this.run('router', layout.routerUrl, router);
    await this.run('controller', `http://127.0.0.1:${layout.controller.external_port}`, controller);
    if (this.stopping) return;
    const healthManager = this.createHealthManager(layout, controller.url, logger.child({}, 'hm9000'));
    await this.run('health', 'brings back what should run and does not', healthManager);
    await this.waitForCell(controller);
    this.greet(layout);
  }

  private createHealthManager(layout: Layout, controllerUrl: string, logger: Logger): HealthManager {
    const config = layout.healthManager(controllerUrl);
    return HealthManager.create({
      config,
      ...openStore(config, logger),
      localIp: layout.nats.host,
      onAbort: () => this.events.fail('the health manager hangs; see the log'),
      logger,
    });
  }

  /** Stops the parts in the opposite order: whoever speaks last still has the bus. Idempotent. */
  stop(): Promise<void> {
    this.stopping ??= this.stopAll();
    return this.stopping;
  }

  private async stopAll(): Promise<void> {
    for (let part = this.running.pop(); part; part = this.running.pop()) {
      await part.stop().catch((error: unknown) => this.events.print(`stop: ${(error as Error).message}`));
    }
  }

  private async run(name: string, where: string, part: Component): Promise<void> {
    if (this.stopping) return;
    this.running.push(part);
    await part.start();
    this.events.print(`  ${name.padEnd(12)} ${where}`);
  }

  private async waitForCell(controller: MiniCc): Promise<void> {
    const isThere = await waitUntil(() => this.stopping !== undefined || controller.cellIds.length > 0, {
      timeoutMs: cellLimitMs,
      maximumPauseMs: 100,
    });
    if (!isThere) throw new Error(`the cell did not advertise itself within ${cellLimitMs / 1000} s`);
  }

  private greet({ routerUrl }: Layout): void {
    const { print } = this.events;
    print(`  ${'log'.padEnd(12)} ${join(this.options.dataDirectory, 'standalone.log')}`);
    print('');
    print(`Ready. Apps answer at ${routerUrl.replace('://', '://<name>.')}. In another terminal:`);
    print('');
    print('  bin/isthmus push hello spec/fixtures/apps/static');
    print('');
    print('Ctrl-C stops everything.');
  }
}
