import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { dump as toYaml } from 'js-yaml';
import { connect, type NatsConnection } from 'nats';
import { readHeartbeat } from '../lib/health-manager/heartbeats/heartbeat-message.js';
import { digestOf } from '../lib/health-manager/heartbeats/repetitions.js';
import { type BulkCloudController, startBulkCloudController } from '../spec/support/bulk-cloud-controller.js';
import { eventually } from '../spec/support/eventually.js';
import { type NatsServer, startNats } from '../spec/support/nats.js';
import { type RedisServer, startRedis } from '../spec/support/redis.js';
import { type Figure, median } from './figure.js';
import { processCost } from './process-cost.js';

const cells = 1000;
const instancesPerCell = 250;
const instancesPerApp = 5;
const heartbeatPeriodMs = 10_000;
const measuredSeconds = 30;
const appsPerQuestion = 1000;
const questionSeconds = 10;
const askers = 4;
const megabyte = 1024 * 1024;
const credentials = `Basic ${Buffer.from('api:secret').toString('base64')}`;

/**
 * One health manager that holds a large installation: a quarter of a million instances on a thousand cells, each of
 * which beats every ten seconds over a real NATS server, and apps that a Cloud Controller lists in pages.
 */
export async function benchHealthManager(): Promise<Figure[]> {
  const figures = measureReading();
  for (const store of ['memory', 'redis'] as const) {
    const bench = await HealthManagerBench.start(store);
    try {
      const found = [
        ...(await bench.measureSteadyState()),
        ...(await bench.measureQuestions()),
        ...(await bench.measureLostCell()),
      ];
      figures.push(...found.map((figure) => ({ ...figure, name: `${store}: ${figure.name}` })));
    } finally {
      await bench.stop();
    }
  }
  return figures;
}

/** What the figures of one store are held against. */
const targets = {
  memory: { cpu: '< 50', answers: '>= 200' },
  redis: { cpu: '< 100', answers: '' },
};

/** What one changed heartbeat of 500 instances costs before it is merged. */
function measureReading(): Figure[] {
  const payload = encodeHeartbeat(
    'cell',
    Array.from({ length: 500 }, (_, index) => index),
  );
  const timed = (work: () => unknown) => {
    const times = Array.from({ length: 200 }, () => {
      const begun = performance.now();
      work();
      return performance.now() - begun;
    });
    return median(times);
  };
  return [
    {
      name: 'heartbeat of 500 instances, read anew',
      value: timed(() => readHeartbeat(payload)),
      unit: 'ms',
      target: '< 1',
    },
    {
      name: 'heartbeat of 500 instances, recognised',
      value: timed(() => digestOf(payload)),
      unit: 'ms',
      target: '< 1',
    },
  ];
}

class HealthManagerBench {
  private readonly payloads = new Map<number, Uint8Array>();
  private timer: NodeJS.Timeout | undefined;
  private nextCell = 0;

  private constructor(
    private readonly store: keyof typeof targets,
    private readonly redis: RedisServer | undefined,
    private readonly nats: NatsServer,
    private readonly connection: NatsConnection,
    private readonly controller: BulkCloudController,
    private readonly directory: string,
    private readonly ports: { api: number; metrics: number },
    private readonly child: ChildProcess,
  ) {}

  static async start(store: keyof typeof targets): Promise<HealthManagerBench> {
    const redis = store === 'redis' ? await startRedis() : undefined;
    const nats = await startNats();
    const connection = await connect({ servers: nats.url });
    const controller = await startBulkCloudController();
    const apps = (cells * instancesPerCell) / instancesPerApp;
    controller.apps = Array.from({ length: apps }, (_, index) => ({
      id: appGuid(index),
      version: versionOf(index),
      instances: instancesPerApp,
      state: 'STARTED',
      package_state: 'STAGED',
    }));
    const directory = await mkdtemp(join(tmpdir(), 'health-'));
    const ports = { api: nats.port + 1, metrics: nats.port + 2 };
    const configPath = join(directory, 'hm9000.yml');
    await writeFile(
      configPath,
      toYaml({
        nats: [{ host: '127.0.0.1', port: nats.port }],
        local_ip: '127.0.0.1',
        cc_base_url: controller.url,
        cc_auth_user: 'bulk',
        cc_auth_password: 'password',
        desired_state_batch_size: 1000,
        sender_message_limit: 1000,
        api_server_address: '127.0.0.1',
        api_server_port: ports.api,
        api_server_username: 'api',
        api_server_password: 'secret',
        metrics_server_port: ports.metrics,
        metrics_server_user: 'metrics',
        metrics_server_password: 'secret',
        ...(redis ? { store_type: 'redis', store_urls: [redis.url] } : { snapshot_file: join(directory, 'state.db') }),
        log_file: join(directory, 'hm9000.log'),
      }),
    );
    const child = spawn('bin/hm9000', [configPath], { stdio: ['ignore', 'ignore', 'inherit'] });
    return new HealthManagerBench(store, redis, nats, connection, controller, directory, ports, child);
  }

  /** CPU and memory while every cell beats and nothing changes. */
  async measureSteadyState(): Promise<Figure[]> {
    this.beat();
    await eventually(
      async () => (await this.gauge('NumberOfRunningInstances')) === cells * instancesPerCell || undefined,
      {
        what: 'a complete and fresh state',
        timeoutMs: 180_000,
      },
    );
    const pid = this.child.pid!;
    const before = await processCost(pid);
    await delay(measuredSeconds * 1000);
    const after = await processCost(pid);
    const cpu = (100 * (after.cpuSeconds - before.cpuSeconds)) / measuredSeconds;
    const instances = cells * instancesPerCell;
    const megabytes = after.residentBytes / megabyte;
    const figures: Figure[] = [
      {
        name: `CPU with ${instances} instances on ${cells} cells`,
        value: cpu,
        unit: '% of a core',
        target: targets[this.store].cpu,
      },
      { name: 'memory then', value: megabytes, unit: 'MiB', target: '' },
      { name: 'memory for 100,000 instances', value: (megabytes / instances) * 100_000, unit: 'MiB', target: '' },
      {
        name: 'analysis of all apps',
        value: (await this.gauge('AnalysisTimeInMilliseconds')) ?? Number.NaN,
        unit: 'ms',
        target: '< 2000',
      },
    ];
    if (!this.redis) return figures;
    const [, bytes] = /used_memory:(\d+)/.exec(await this.redis.client.info('memory'))!;
    const kept = (Number(bytes) / megabyte / instances) * 100_000;
    return [...figures, { name: 'memory of Redis for 100,000 instances', value: kept, unit: 'MiB', target: '< 64' }];
  }

  /** How many questions about a thousand apps are answered in a second, when each was asked before. */
  async measureQuestions(): Promise<Figure[]> {
    const agent = new Agent({ keepAlive: true, maxSockets: askers });
    const apps = (cells * instancesPerCell) / instancesPerApp;
    const lists = Array.from({ length: apps / appsPerQuestion }, (_, list) => questionsFrom(list * appsPerQuestion));
    const ask = async (list: number) => {
      const bytes = await this.call(agent, lists[list % lists.length]!);
      if (bytes < appsPerQuestion * instancesPerApp * 100) throw new Error('an answer is too short');
    };
    const cpuSeconds = async () => (await processCost(this.child.pid!)).cpuSeconds;
    const begun = await cpuSeconds();
    for (let list = 0; list < lists.length; list += 1) await ask(list);
    const warm = await cpuSeconds();
    let answered = 0;
    const deadline = performance.now() + questionSeconds * 1000;
    const askOn = async (asker: number) => {
      for (let list = asker; performance.now() < deadline; list += askers) {
        await ask(list);
        answered += 1;
      }
    };
    await Promise.all(Array.from({ length: askers }, (_, asker) => askOn(asker)));
    const ended = await cpuSeconds();
    agent.destroy();
    const name = `bulk_app_state of ${appsPerQuestion} apps`;
    return [
      {
        name: `${name}, ${askers} in parallel`,
        value: answered / questionSeconds,
        unit: '/s',
        target: targets[this.store].answers,
      },
      { name: `${name}, processor time`, value: (1000 * (ended - warm)) / answered, unit: 'ms', target: '' },
      { name: `${name}, the first time`, value: (1000 * (warm - begun)) / lists.length, unit: 'ms', target: '' },
    ];
  }

  /** From the first start that a lost cell causes to the last. */
  async measureLostCell(): Promise<Figure[]> {
    const arrivals: number[] = [];
    this.connection.subscribe('hm9000.start', { callback: () => void arrivals.push(performance.now()) });
    await this.connection.flush();
    this.payloads.set(0, new Uint8Array());
    const begun = performance.now();
    await eventually(() => arrivals.length >= instancesPerCell || undefined, {
      what: 'all starts of a lost cell',
      timeoutMs: 120_000,
    });
    return [
      {
        name: 'lost cell: from its first start to its last',
        value: arrivals.at(-1)! - arrivals[0]!,
        unit: 'ms',
        target: '< 1000',
      },
      {
        name: 'lost cell: until its last start, in all',
        value: (arrivals.at(-1)! - begun) / 1000,
        unit: 's',
        target: '',
      },
    ];
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.child.kill('SIGTERM');
    if (this.child.exitCode === null) await once(this.child, 'exit');
    await this.connection.close();
    await this.controller.stop();
    await this.nats.stop();
    await this.redis?.stop();
    await rm(this.directory, { recursive: true });
  }

  /** Every cell in turn, evenly over the period, as cells do that were not started together. */
  private beat(): void {
    for (let cell = 0; cell < cells; cell += 1) {
      const indices = Array.from({ length: instancesPerCell }, (_, offset) => cell * instancesPerCell + offset);
      this.payloads.set(cell, encodeHeartbeat(`cell-${cell}`, indices));
    }
    const perTick = cells / (heartbeatPeriodMs / 100);
    this.timer = setInterval(() => {
      for (let count = 0; count < perTick; count += 1) {
        const payload = this.payloads.get(this.nextCell)!;
        if (payload.length > 0) this.connection.publish('dea.heartbeat', payload);
        this.nextCell = (this.nextCell + 1) % cells;
      }
    }, 100);
  }

  private async call(agent: Agent, body: string): Promise<number> {
    const outgoing = request({
      ...{ host: '127.0.0.1', port: this.ports.api, path: '/bulk_app_state', method: 'POST', agent },
      headers: { authorization: credentials, 'content-length': Buffer.byteLength(body) },
    });
    outgoing.end(body);
    const [response] = await once(outgoing, 'response');
    let bytes = 0;
    for await (const part of response) bytes += (part as Buffer).length;
    return bytes;
  }

  private async gauge(name: string): Promise<number | undefined> {
    const authorization = `Basic ${Buffer.from('metrics:secret').toString('base64')}`;
    const url = `http://127.0.0.1:${this.ports.metrics}/varz`;
    const answer = await fetch(url, { headers: { authorization } }).catch(() => undefined);
    if (!answer?.ok) return undefined;
    const { contexts } = (await answer.json()) as { contexts: { metrics: { name: string; value: number }[] }[] };
    return contexts[0]!.metrics.find((metric) => metric.name === name)?.value;
  }
}

/** What a Cloud Controller asks about the apps from that number on. */
function questionsFrom(first: number): string {
  const questions = Array.from({ length: appsPerQuestion }, (_, offset) => ({
    droplet: appGuid(first + offset),
    version: versionOf(first + offset),
  }));
  return JSON.stringify(questions);
}

/** Instances are numbered; five in a row are those of one app, each on its own index. */
function encodeHeartbeat(dea: string, numbers: number[]): Uint8Array {
  const droplets = numbers.map((number) => ({
    cc_partition: 'default',
    droplet: appGuid(Math.floor(number / instancesPerApp)),
    version: versionOf(Math.floor(number / instancesPerApp)),
    instance: number.toString(16).padStart(32, '0'),
    index: number % instancesPerApp,
    state: 'RUNNING',
    state_timestamp: 1435672356.4512,
  }));
  return Buffer.from(JSON.stringify({ dea, droplets }));
}

function appGuid(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}

function versionOf(number: number): string {
  return `11111111-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}
