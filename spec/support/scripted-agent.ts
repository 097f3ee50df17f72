import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, JSONCodec, type Msg, type NatsConnection } from 'nats';
import { eventually } from './eventually.js';
import type { Message } from './peer.js';

export interface ScriptedInstance {
  droplet: string;
  version: string;
  instance: string;
  index: number;
  state: 'STARTING' | 'RUNNING' | 'CRASHED';
  since: number;
  uris: string[];
  limits: { mem: number; disk: number; fds: number };
}

/** What a staging's script may do with a staging message. */
export interface StagingScript {
  /** The message as it came. */
  message: Message;
  /** Appends to the log that users follow. */
  log(text: string): void;
  /** Sends the first reply, or one that tells of an error. */
  setUp(reply?: Message): void;
  /** Sends the second reply. */
  complete(reply?: Message): void;
  /** Fetches the package with the URL's credentials. */
  download(): Promise<Buffer>;
  /** Posts a droplet and follows its job to the end; gives its SHA-1. */
  upload(content: Buffer): Promise<string>;
}

export interface ScriptedAgentOptions {
  natsUrl: string;
  stacks?: string[];
  memoryMb?: number;
  /** Undefined leaves it out of the advertisements. */
  diskMb?: number | undefined;
  zone?: string;
  /** Where it takes messages over HTTPS. @default nowhere */
  url?: string;
  /** What is advertised. @default both */
  advertises?: ('dea' | 'staging')[];
  /** Whether instances become RUNNING at once. @default true */
  startsInstances?: boolean;
  /** Whether it tells health managers of its instances, every half second. @default false */
  beats?: boolean;
  /** @default stageWell */
  stage?: (script: StagingScript) => Promise<void>;
}

/** Says hello, fetches the package, uploads a droplet: what a stager does when all goes well. */
export async function stageWell(script: StagingScript): Promise<void> {
  script.setUp();
  script.log('-----> Downloaded app package\n');
  const app = await script.download();
  script.log('-----> Scripted buildpack\n');
  const sha1 = await script.upload(Buffer.concat([Buffer.from('droplet of '), app]));
  script.log('-----> Uploading droplet\n');
  script.complete({
    detected_buildpack: 'Scripted',
    buildpack_key: null,
    droplet_sha1: sha1,
    detected_start_command: 'run it',
    procfile: { web: 'run it' },
    app_id: script.message.app_id,
  });
}

/**
 * A cell that does what specs say: speaks a cell's side of NATS and HTTP for real, without running anything. Its HTTP
 * server stands for router and directory server in one: it answers for the routes of running instances and for logs.
 */
export class ScriptedAgent {
  readonly id = `0-${randomBytes(16).toString('hex')}`;
  readonly instances: ScriptedInstance[] = [];
  /** Staging messages in the order they came. */
  readonly stagings: Message[] = [];
  private readonly codec = JSONCodec<Message>();
  private readonly logs = new Map<string, { text: string; isOpen: boolean }>();
  private readonly hostUuid = randomBytes(16).toString('hex');
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    readonly connection: NatsConnection,
    private readonly server: Server,
    readonly options: ScriptedAgentOptions,
  ) {}

  static async start(options: ScriptedAgentOptions): Promise<ScriptedAgent> {
    const connection = await connect({ servers: options.natsUrl });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const agent = new ScriptedAgent(connection, server, options);
    server.on('request', (request, response) => void agent.answer(request, response));
    agent.subscribe();
    await connection.flush();
    const tell = () => {
      agent.advertise();
      if (options.beats) agent.beat();
    };
    tell();
    agent.timer = setInterval(tell, 500);
    return agent;
  }

  /** Where routes and logs answer. */
  get routerUrl(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  advertise(): void {
    const { stacks = ['bookworm'], memoryMb = 8192, zone, advertises = ['dea', 'staging'] } = this.options;
    const disk = 'diskMb' in this.options ? this.options.diskMb : 16_384;
    const common = {
      id: this.id,
      stacks,
      available_memory: memoryMb,
      ...(disk !== undefined && { available_disk: disk }),
    };
    const counts: Record<string, number> = {};
    for (const { droplet } of this.instances) counts[droplet] = (counts[droplet] ?? 0) + 1;
    if (advertises.includes('staging')) this.publish('staging.advertise', common);
    if (advertises.includes('dea')) {
      const placement = zone === undefined ? {} : { zone };
      this.publish('dea.advertise', {
        ...common,
        url: this.options.url ?? null,
        app_id_to_count: counts,
        placement_properties: placement,
      });
    }
  }

  /** Tells health managers of all instances. */
  beat(): void {
    const droplets = this.instances.map(({ droplet, version, instance, index, state, since }) => ({
      cc_partition: 'default',
      ...{ droplet, version, instance, index, state },
      state_timestamp: since,
    }));
    this.publish('dea.heartbeat', { dea: this.id, droplets });
  }

  publish(subject: string, data: Message): void {
    this.connection.publish(subject, this.codec.encode(data));
  }

  /** Has an instance crash, as the agent tells it. */
  crash(index: number, exitStatus: number, description: string): void {
    const instance = this.instances.find((candidate) => candidate.index === index && candidate.state !== 'CRASHED');
    if (!instance) throw new Error(`no instance ${index} to crash`);
    instance.state = 'CRASHED';
    instance.since = Date.now() / 1000;
    this.publish('droplet.exited', {
      cc_partition: 'default',
      droplet: instance.droplet,
      version: instance.version,
      instance: instance.instance,
      index,
      reason: 'CRASHED',
      exit_status: exitStatus,
      exit_description: description,
      crash_timestamp: Math.floor(instance.since),
    });
  }

  /** Stops advertising, answering and listening. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.connection.close();
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  private subscribe(): void {
    this.on(`dea.${this.id}.start`, (message) => this.startInstance(message));
    this.on('dea.stop', (message) => this.stopInstances(message));
    this.on('dea.update', (message) => this.updateInstances(message));
    this.on('dea.find.droplet', (message, request) => this.find(message, request));
    this.on(`staging.${this.id}.start`, (message, request) => void this.stage(message, request));
  }

  private on(subject: string, handler: (message: Message, request: Msg) => void): void {
    this.connection.subscribe(subject, {
      callback: (_error, request) => handler(this.codec.decode(request.data), request),
    });
  }

  private startInstance(message: Message): void {
    this.instances.push({
      droplet: message.droplet,
      version: message.version,
      instance: randomUUID().replaceAll('-', ''),
      index: message.index,
      state: (this.options.startsInstances ?? true) ? 'RUNNING' : 'STARTING',
      since: Date.now() / 1000,
      uris: message.uris,
      limits: message.limits,
    });
    this.advertise();
  }

  private stopInstances(message: Message): void {
    for (const instance of [...this.instances]) {
      if (matches(instance, message)) this.instances.splice(this.instances.indexOf(instance), 1);
    }
  }

  private updateInstances(message: Message): void {
    for (const instance of this.instances) {
      if (instance.droplet !== message.droplet) continue;
      instance.uris = message.uris;
      instance.version = message.version;
    }
  }

  private find(message: Message, request: Msg): void {
    for (const instance of this.instances) {
      if (!matches(instance, message)) continue;
      const { since, limits, uris, ...facts } = instance;
      const path = `/instance_paths/${instance.instance}?hmac=0&path=${encodeURIComponent(message.path ?? '')}&timestamp=1`;
      const stats = {
        name: 'scripted',
        uris,
        host: '127.0.0.1',
        port: 61_001,
        uptime: 7,
        mem_quota: limits.mem * 1024 * 1024,
        disk_quota: limits.disk * 1024 * 1024,
        fds_quota: limits.fds,
        usage: { time: '2015-06-30 13:53:20 +0000', cpu: 0.0123, mem: 52_428_800, disk: 1024 },
      };
      const reply = {
        dea: this.id,
        ...facts,
        state_timestamp: since,
        staged: `/${instance.instance}`,
        ...('path' in message && { file_uri_v2: `http://${this.hostUuid}.localhost${path}` }),
        ...(message.include_stats && instance.state === 'RUNNING' && { stats }),
      };
      request.respond(this.codec.encode(reply));
    }
  }

  private async stage(message: Message, request: Msg): Promise<void> {
    this.stagings.push(message);
    const log = { text: '', isOpen: true };
    this.logs.set(message.task_id, log);
    const reply = (fields: Message) => request.respond(this.codec.encode({ task_id: message.task_id, ...fields }));
    const url = `http://${this.hostUuid}.localhost/staging_tasks/${message.task_id}/file_path?hmac=0&path=%2Flog&timestamp=1`;
    const script: StagingScript = {
      message,
      log: (text) => {
        log.text += text;
      },
      setUp: (fields = {}) => reply({ task_streaming_log_url: url, error: null, ...fields }),
      complete: (fields = {}) => {
        log.isOpen = false;
        reply(fields);
        if (!fields.error && fields.droplet_sha1) {
          this.startInstance({ ...message.start_message, sha1: fields.droplet_sha1 });
        }
      },
      download: () => fetchBytes(message.download_uri),
      upload: (content) => uploadDroplet(message.upload_uri, content),
    };
    await (this.options.stage ?? stageWell)(script);
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const host = (request.headers.host ?? '').replace(/:\d+$/, '');
    if (host === `${this.hostUuid}.localhost`) return this.answerFile(request, response);
    const isRouted = this.instances.some(({ state, uris }) => state === 'RUNNING' && uris.includes(host));
    if (isRouted) response.end(`hello from ${host}\n`);
    else
      response
        .writeHead(404, { 'X-Cf-RouterError': 'unknown_route' })
        .end('404 Not Found: Requested route does not exist.\n');
  }

  /** A file of an instance, or the tail of a staging log: growing, cut off after each part, gone with its task. */
  private async answerFile(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'http://files');
    const [, taskId] = /^\/staging_tasks\/(\w+)\//.exec(url.pathname) ?? [];
    if (taskId === undefined) {
      response.end(`file ${url.searchParams.get('path')}\n`);
      return;
    }
    const log = this.logs.get(taskId);
    const offset = Number(url.searchParams.get('tail_offset'));
    if (!log || (!log.isOpen && offset >= log.text.length)) {
      response.writeHead(404).end('{"error":"Unknown staging task"}');
      return;
    }
    await eventually(() => (log.text.length > offset || !log.isOpen ? true : undefined), { timeoutMs: 1000 }).catch(
      () => {},
    );
    response.write(log.text.slice(offset));
    // Without the last chunk, so that the client knows to come back.
    setImmediate(() => response.destroy());
  }
}

/** The filters of `dea.stop` and `dea.find.droplet`: all given ones must hold. */
function matches(instance: ScriptedInstance, filter: Message): boolean {
  const ids = [...(filter.instances ?? []), ...(filter.instance_ids ?? [])];
  return (
    instance.droplet === filter.droplet &&
    (!filter.version || instance.version === filter.version) &&
    (ids.length === 0 || ids.includes(instance.instance)) &&
    (!filter.indices?.length || filter.indices.includes(instance.index)) &&
    (!filter.states?.length || filter.states.includes(instance.state))
  );
}

function authorized(url: string): { url: string; headers: Record<string, string> } {
  const parsed = new URL(url);
  const userinfo = `${decodeURIComponent(parsed.username)}:${decodeURIComponent(parsed.password)}`;
  parsed.username = '';
  parsed.password = '';
  return { url: parsed.href, headers: { Authorization: `Basic ${Buffer.from(userinfo).toString('base64')}` } };
}

/** GETs with the URL's credentials. */
export async function fetchBytes(url: string): Promise<Buffer> {
  const { url: bare, headers } = authorized(url);
  const response = await fetch(bare, { headers });
  if (!response.ok) throw new Error(`GET answered ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** The form as an agent of 2015 posts it, with its unusual ending. */
export function dropletForm(content: Buffer, boundary = `multipart-boundary-${randomUUID()}`) {
  const body = Buffer.concat([
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="upload[droplet]"; filename="droplet.tgz"\r\n` +
        'Content-Type: application/octet-stream\r\n\r\n',
    ),
    content,
    Buffer.from(`\r\n--${boundary}--\n`),
  ]);
  return { body, headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` } };
}

/** Posts a droplet with the credentials of the URL and follows its job to the end; gives its SHA-1. */
export async function uploadDroplet(url: string, content: Buffer): Promise<string> {
  const { url: bare, headers } = authorized(url);
  const form = dropletForm(content);
  const response = await fetch(`${bare}?async=true`, {
    method: 'POST',
    headers: { ...headers, ...form.headers },
    body: form.body,
  });
  if (!response.ok) throw new Error(`upload answered ${response.status}: ${await response.text()}`);
  const job = (await response.json()) as Message;
  await eventually(async () => {
    const { entity } = JSON.parse((await fetchBytes(job.metadata.url)).toString()) as Message;
    if (entity.status === 'failed') throw new Error(entity.error);
    return entity.status === 'finished' || undefined;
  });
  return createHash('sha1').update(content).digest('hex');
}
