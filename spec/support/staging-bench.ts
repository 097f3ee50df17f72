import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BlobServer, type ReceivedUpload, sha1, startBlobServer } from './blob-server.js';
import { type Cell, makeCell } from './cell.js';
import { eventually } from './eventually.js';
import { FakeBuildpacks } from './fake-buildpacks.js';
import { containersIn } from './leaks.js';
import { startNats } from './nats.js';
import { type Message, Peer } from './peer.js';
import { zipDirectory } from './zip.js';

/** A cell that stages, and all whom it needs for it: bus, blobstore, Cloud Controller. */
export class StagingBench {
  readonly disposals: (() => Promise<unknown> | undefined)[] = [];
  nats!: Awaited<ReturnType<typeof startNats>>;
  blobs!: BlobServer;
  peer!: Peer;
  cell!: Cell;
  cellId!: string;
  packs!: FakeBuildpacks;
  /** Zip of a small static app. */
  packageUrl!: string;
  private memoryMb!: number;

  /** `config` may need to know the blobstore. */
  static async start(config: (blobs: BlobServer) => Record<string, unknown> = () => ({})): Promise<StagingBench> {
    const bench = new StagingBench();
    try {
      await bench.prepare(config);
    } catch (error) {
      await bench.stop();
      throw error;
    }
    return bench;
  }

  private async prepare(config: (blobs: BlobServer) => Record<string, unknown>): Promise<void> {
    this.nats = await startNats();
    this.disposals.unshift(() => this.nats.stop());
    this.blobs = await startBlobServer();
    this.disposals.unshift(() => this.blobs.stop());
    this.packs = await FakeBuildpacks.create();
    this.disposals.unshift(() => this.packs.remove());
    this.packageUrl = this.blobs.put('/unstaged/static', await zipDirectory('spec/fixtures/apps/static'));
    this.peer = await Peer.connect(this.nats.url);
    this.disposals.unshift(() => this.peer.close());
    this.cell = await makeCell({ natsUrl: this.nats.url, config: config(this.blobs) });
    this.disposals.unshift(() => this.cell.dispose());
    await this.cell.start();
    const { id, available_memory } = await this.peer.next('dea.advertise');
    this.cellId = id;
    this.memoryMb = available_memory;
  }

  async stop(): Promise<void> {
    for (const dispose of this.disposals.splice(0)) await dispose();
  }

  /** The message's entry for a buildpack: one of upstream's, or one with the given scripts. */
  async admin(name: string, own?: Record<string, string>): Promise<Message> {
    const content = await this.packs.zip(name, own);
    const key = `${name}-${sha1(content).slice(0, 8)}`;
    return { key, url: this.blobs.put(`/admin_buildpacks/${key}`, content) };
  }

  /** A message as an old Cloud Controller sends it; `properties` are merged. */
  async message({ properties, ...overrides }: Message = {}): Promise<Message> {
    const app = randomUUID();
    const { urlWithCredentials } = this.blobs;
    return {
      app_id: app,
      task_id: randomUUID().replaceAll('-', ''),
      stack: 'bookworm',
      properties: {
        services: [],
        resources: { memory: 64, disk: 128, fds: 1024 },
        environment: ['FOO=bar'],
        meta: {},
        ...properties,
      },
      download_uri: this.packageUrl,
      upload_uri: `${urlWithCredentials}/staged/${app}/upload`,
      buildpack_cache_download_uri: `${urlWithCredentials}/buildpack_cache/${app}/download`,
      buildpack_cache_upload_uri: `${urlWithCredentials}/buildpack_cache/${app}/upload`,
      start_message: null,
      admin_buildpacks: overrides.admin_buildpacks ?? [await this.admin('start_command')],
      egress_network_rules: [],
      ...overrides,
    };
  }

  /** Sends a message; the array grows with each reply. */
  stage(message: Message): Message[] {
    return this.peer.requestReplies(`staging.${this.cellId}.start`, message);
  }

  async replies(received: Message[], count: number, timeoutMs = 60_000): Promise<Message[]> {
    await eventually(() => (received.length >= count ? true : undefined), { timeoutMs, what: `${count} replies` });
    return received;
  }

  /** Stages and gives both replies. */
  async outcome(overrides: Message = {}): Promise<[Message, Message]> {
    const [first, second] = await this.replies(this.stage(await this.message(overrides)), 2);
    return [first!, second!];
  }

  /** The log so far. */
  async logSoFar(url: string): Promise<string> {
    const { pathname, search } = new URL(url);
    return (await fetch(`http://127.0.0.1:${this.cell.directoryServerPort}${pathname}${search}`)).text();
  }

  /** The log, followed to its end. */
  async log(url: string): Promise<string> {
    const { pathname, search } = new URL(url);
    const response = await fetch(
      `http://127.0.0.1:${this.cell.directoryServerPort}${pathname}${search}&tail&tail_offset=0`,
    );
    let log = '';
    try {
      for await (const chunk of response.body!) log += Buffer.from(chunk).toString();
    } catch {
      // Cut when the file goes: what came is the log.
    }
    return log;
  }

  uploadsTo(url: string): ReceivedUpload[] {
    const { pathname } = new URL(url);
    return this.blobs.uploads.filter((upload) => upload.url.startsWith(pathname));
  }

  /** A file of an uploaded archive. */
  static fileIn(upload: ReceivedUpload, path: string): string {
    return execFileSync('tar', ['xzfO', '-', path], { input: upload.content, maxBuffer: 64 * 1024 * 1024 }).toString();
  }

  static filesIn(upload: ReceivedUpload): string[] {
    return execFileSync('tar', ['tzf', '-'], { input: upload.content }).toString().trim().split('\n');
  }

  /** Waits until nothing is left of any staging: reservation, workspace, container, record. */
  async expectReleased(timeoutMs = 20_000): Promise<void> {
    const base = join(this.cell.baseDirectory, 'base');
    await eventually(
      async () => {
        const mark = this.peer.mark;
        const { available_memory } = await this.peer.next('dea.advertise', () => true, { since: mark });
        const left = {
          memory: this.memoryMb - available_memory,
          workspaces: await readdir(join(base, 'staging')),
          containers: containersIn(join(base, 'depot')),
          tasks: (await this.cell.snapshot()).staging_tasks.length,
        };
        const isReleased = left.memory === 0 && left.tasks === 0 && !left.workspaces.length && !left.containers.length;
        if (!isReleased) throw new Error(`of a staging is left ${JSON.stringify(left)}`);
        return true;
      },
      { timeoutMs },
    );
  }
}
