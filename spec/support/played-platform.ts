import type { NatsConnection } from 'nats';
import type { StartOrder, StopOrder } from '../../lib/health-manager/orders/transport.js';
import type { BulkApp } from './bulk-cloud-controller.js';
import { heartbeat } from './health-world.js';

interface Instance {
  guid: string;
  app: string;
  index: number;
  state: 'RUNNING' | 'CRASHED';
  dea: string;
  /** Since when it is reported; milliseconds. */
  since: number;
}

const deas = ['dea-0', 'dea-1', 'dea-2'];
const version = 'v1';
const beatIntervalMs = 300;
/** An instance that is reported for so long is known to everybody. */
const knownAfterMs = 5_000;
/** How long an instance of an app lives that loses instances again and again. */
const lossAfterMs = 9_000;

const kinds = { steady: 10, crashing: 5, doubled: 4, losing: 2 } as const;

/**
 * Agents and a Cloud Controller that obey after a moment, and judge every order by what really runs:
 *
 * | Apps | Wanted | What runs | Right orders |
 * |---|---|---|---|
 * | `steady-*` | 2 | 2 | none |
 * | `crashing-*` | 1 | it crashed, for good | starts |
 * | `doubled-*` | 1 | 2 on its index, again and again | a stop of one of them |
 * | `losing-*` | 2 | 1 or 2 | starts of the index that is empty |
 * | `unwanted` | none | 2, again and again | stops |
 */
export class PlayedPlatform {
  /** What was wrong about orders. */
  readonly faults: string[] = [];
  /** Message ids of starts, by app. */
  readonly startIds = new Map<string, Set<string>>();
  readonly counts = { starts: 0, stops: 0, duplicates: 0 };
  private readonly running = new Map<string, Instance>();
  private readonly stopping = new Set<string>();
  private readonly gone = new Set<string>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private beating: NodeJS.Timeout | undefined;
  private sequence = 0;

  constructor(private readonly connection: NatsConnection) {
    for (const app of names('steady')) for (const index of [0, 1]) this.run(app, index);
    for (const app of names('crashing')) this.run(app, 0, 'CRASHED');
    for (const app of names('doubled')) for (const _twice of [0, 1]) this.run(app, 0);
    for (const app of names('losing')) this.run(app, 0);
    for (const index of [0, 1]) this.run('unwanted', index);
  }

  static get crashingApps(): string[] {
    return names('crashing');
  }

  /** What the Cloud Controller wants. */
  static get desired(): BulkApp[] {
    const wanted = (kind: keyof typeof kinds, instances: number) =>
      names(kind).map((id) => ({ id, version, instances, state: 'STARTED', package_state: 'STAGED' }));
    return [...wanted('steady', 2), ...wanted('crashing', 1), ...wanted('doubled', 1), ...wanted('losing', 2)];
  }

  start(): void {
    this.beating = setInterval(() => this.beat(), beatIntervalMs);
  }

  stop(): void {
    clearInterval(this.beating);
    for (const timer of this.timers) clearTimeout(timer);
  }

  takeStart({ message_id: id, droplet: app, instance_index: index }: StartOrder): void {
    this.counts.starts += 1;
    const ids = this.startIds.get(app) ?? new Set();
    this.startIds.set(app, ids.add(id));
    if (app.startsWith('crashing')) return;
    const live = this.at(app, index);
    if (!app.startsWith('losing')) this.faults.push(`start of ${app} ${index}`);
    else if (live.some(({ since }) => Date.now() - since > knownAfterMs))
      this.faults.push(`start of full ${app} ${index}`);
    else if (live.length === 0) this.later(() => this.fill(app, index));
  }

  takeStop({ droplet: app, instance_guid: guid }: StopOrder): void {
    this.counts.stops += 1;
    if (this.gone.has(guid)) return;
    const instance = this.running.get(guid);
    if (!instance || instance.app !== app) {
      this.faults.push(`stop of ${guid} of ${app}, which never was`);
      return;
    }
    const others = this.at(app, instance.index).filter(
      (other) => other.guid !== guid && !this.stopping.has(other.guid),
    );
    if (app !== 'unwanted' && others.length === 0) {
      this.faults.push(`stop of the last instance of ${app} ${instance.index}`);
    }
    if (this.stopping.has(guid)) return;
    if (app.startsWith('doubled')) this.counts.duplicates += 1;
    this.stopping.add(guid);
    this.later(() => {
      this.end(guid);
      this.later(() => this.run(app, instance.index));
    });
  }

  private fill(app: string, index: number): void {
    if (this.at(app, index).length > 0) return;
    const guid = this.run(app, index);
    this.later(() => this.end(guid), lossAfterMs);
  }

  private run(app: string, index: number, state: Instance['state'] = 'RUNNING'): string {
    this.sequence += 1;
    const guid = `${app}-${index}-${this.sequence}`;
    const dea = deas[this.sequence % deas.length]!;
    this.running.set(guid, { guid, app, index, state, dea, since: Date.now() });
    return guid;
  }

  private end(guid: string): void {
    this.running.delete(guid);
    this.gone.add(guid);
  }

  private at(app: string, index: number): Instance[] {
    return [...this.running.values()].filter((instance) => instance.app === app && instance.index === index);
  }

  private beat(): void {
    if (this.connection.isClosed()) return;
    for (const dea of deas) {
      const listed = [...this.running.values()].filter((instance) => instance.dea === dea);
      const reported = listed.map(({ guid, app, index, state }) => ({ app, instance: guid, index, state }));
      this.connection.publish('dea.heartbeat', heartbeat(dea, reported));
    }
  }

  private later(act: () => void, delayMs = 100 + Math.random() * 500): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, delayMs);
    this.timers.add(timer);
  }
}

function names(kind: keyof typeof kinds): string[] {
  return Array.from({ length: kinds[kind] }, (_, number) => `${kind}-${number}`);
}
