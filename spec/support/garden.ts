import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { dump as toYaml } from 'js-yaml';
import { eventually } from './eventually.js';
import { takePorts } from './host-share.js';
import { expectNothingLeft } from './leaks.js';
import { makeOciSettings, type OciSettings, startOciEngine } from './oci.js';
import { stackRootfs } from './stack.js';
import { builtProgram } from './typescript.js';

/** `bin/garden` as a process of its own that can be killed. */
export interface GardenProcess {
  /** Path of its UNIX socket. */
  readonly socket: string;
  readonly tcp: { host: string; port: number };
  /** Path of the socket on which it speaks the Warden protocol. */
  readonly wardenSocket: string;
  readonly depot: string;
  /** First and number of the host ports that it hands out. */
  readonly portPool: { start: number; size: number };
  readonly pid: number;
  /** Ends it orderly and destroys what it leaves; fails when anything is left on the host. */
  stop(): Promise<void>;
  /** Ends it orderly; gives the exit status. Containers live on. @param signal @default 'SIGTERM' */
  terminate(signal?: 'SIGTERM' | 'SIGUSR2'): Promise<number | null>;
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again on the same depot, after `kill` or `terminate`. */
  start(options?: { waits?: boolean }): Promise<void>;
  /** `terminate` and `start`. @param changes keys of the configuration that are other ones from now on */
  restart(changes?: Record<string, unknown>): Promise<void>;
}

export interface LaunchOptions {
  /** Of the process, beside this one's. */
  env?: NodeJS.ProcessEnv;
  /** A command, with arguments, that becomes the program whose own command line it is given. */
  prefix?: (depot: string) => string[];
}

/** @param config keys of `garden.yml` beside those that keep it apart from others */
export async function startGarden(
  config: Record<string, unknown> = {},
  options: LaunchOptions = {},
): Promise<GardenProcess> {
  const place = await makePlace();
  const { settings, socket, tcp, wardenSocket, directory } = place;
  const document = {
    bind_socket: socket,
    bind_ip: tcp.host,
    bind_port: tcp.port,
    depot: settings.depotDirectory,
    default_rootfs: stackRootfs(),
    network_pool: settings.networkPool,
    port_pool_start: settings.portPool!.start,
    port_pool_size: settings.portPool!.size,
    warden_socket: wardenSocket,
    logging: { file: join(directory, 'garden.log') },
    ...config,
  };
  return startServer(place, socket, document, options);
}

/**
 * The same program with the configuration of a Warden; it speaks that protocol alone.
 *
 * @param config sections of the file beside what keeps it apart from others; they take the place of those
 */
export async function startGardenAsWarden(
  config: Record<string, Record<string, unknown>> = {},
): Promise<GardenProcess> {
  const place = await makePlace();
  const { settings, wardenSocket, directory, tcp } = place;
  const ports = takePorts(1000);
  return startServer(place, wardenSocket, {
    server: {
      unix_domain_path: wardenSocket,
      container_klass: 'Warden::Container::Linux',
      container_rootfs_path: stackRootfs(),
      container_depot_path: settings.depotDirectory,
      ...config.server,
    },
    network: { pool_network: settings.networkPool, ...config.network },
    health_check_server: { port: tcp.port },
    port: { pool_start_port: ports.start, pool_size: ports.size },
    logging: { level: 'debug2', file: join(directory, 'garden.log') },
  });
}

interface Place {
  settings: OciSettings;
  directory: string;
  socket: string;
  wardenSocket: string;
  tcp: { host: string; port: number };
}

async function makePlace(): Promise<Place> {
  const settings = await makeOciSettings();
  const directory = join(settings.depotDirectory, '..');
  return {
    settings,
    directory,
    socket: join(directory, 'garden.sock'),
    wardenSocket: join(directory, 'warden.sock'),
    tcp: { host: '127.0.0.1', port: await freePort() },
  };
}

/** @param liveSocket socket on which it is seen to be up */
async function startServer(
  place: Place,
  liveSocket: string,
  config: object,
  { env = {}, prefix = () => [] }: LaunchOptions = {},
): Promise<GardenProcess> {
  const { settings, directory, socket, wardenSocket, tcp } = place;
  const configPath = join(directory, 'garden.yml');
  let current = config;
  const configure = async (changes: object) => {
    current = { ...current, ...changes };
    await writeFile(configPath, toYaml(current));
  };
  await configure({});
  let child: ChildProcess | undefined;
  const running: GardenProcess = {
    socket,
    tcp,
    wardenSocket,
    portPool: settings.portPool!,
    depot: settings.depotDirectory,
    get pid() {
      return child!.pid!;
    },
    async start({ waits = true } = {}) {
      const [program, ...args] = [
        ...prefix(settings.depotDirectory),
        process.execPath,
        ...builtProgram('lib/garden/main.ts'),
        configPath,
      ];
      child = spawn(program!, args, {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, ...env },
      });
      const started = child;
      const isUp = async () => {
        if (started.exitCode !== null) throw new Error(`garden ended at its start with ${started.exitCode}`);
        if (!waits || liveSocket !== socket) return canConnect(liveSocket);
        return (await callGarden(socket, 'GET', '/ping')).status === 200 || undefined;
      };
      await eventually(isUp, { what: 'garden', timeoutMs: 60_000 });
    },
    async kill() {
      child?.kill('SIGKILL');
      await gone(child);
    },
    async terminate(signal = 'SIGTERM') {
      child?.kill(signal);
      await gone(child);
      return child?.exitCode ?? null;
    },
    async restart(changes = {}) {
      await running.terminate();
      await configure(changes);
      await running.start();
    },
    async stop() {
      await running.terminate();
      const { dispose } = await startOciEngine({ settings });
      await dispose();
      await expectNothingLeft(settings.depotDirectory);
      await rm(directory, { recursive: true, force: true });
    },
  };
  await running.start();
  return running;
}

export interface GardenAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  bytes: Buffer;
  /** The text as JSON. */
  readonly json: unknown;
}

/** One call, as Go's client makes it: on a connection of its own. A string goes as it is, other bodies as JSON. */
export async function callGarden(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<GardenAnswer> {
  const outgoing = request({ socketPath, method, path, agent: false, headers: { Host: 'api', Connection: 'close' } });
  outgoing.end(body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  const [response] = await once(outgoing, 'response');
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  const bytes = Buffer.concat(parts);
  const text = bytes.toString();
  return {
    status: response.statusCode,
    headers: response.headers,
    text,
    bytes,
    get json() {
      return JSON.parse(text);
    },
  };
}

/** A bare connection that keeps all it received. */
export class RawConnection {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #hasEnded = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#hasEnded = true;
    });
  }

  static async open(address: string | { host: string; port: number }): Promise<RawConnection> {
    const socket = typeof address === 'string' ? connect(address) : connect(address.port, address.host);
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  /** Opens one and sends a request, with `behind` directly after it. */
  static async request(
    address: string | { host: string; port: number },
    head: string,
    body?: unknown,
    behind = '',
  ): Promise<RawConnection> {
    const connection = await RawConnection.open(address);
    const text = body === undefined ? '' : JSON.stringify(body);
    const length = body === undefined ? '' : `Content-Length: ${Buffer.byteLength(text)}\r\n`;
    connection.send(`${head} HTTP/1.1\r\nHost: api\r\n${length}\r\n${text}${behind}`);
    return connection;
  }

  send(text: string | Buffer): void {
    this.socket.write(text);
  }

  get text(): string {
    return this.#received.toString();
  }

  get head(): string {
    return this.text.split('\r\n\r\n')[0] ?? '';
  }

  /** What came behind the head. */
  get rest(): string {
    return this.text.slice(this.head.length + 4);
  }

  get length(): number {
    return this.#received.length;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  async until(condition: (connection: RawConnection) => boolean, timeoutMs = 15_000): Promise<this> {
    await eventually(() => (condition(this) ? true : undefined), {
      timeoutMs,
      what: `more than ${this.text.slice(-400)}`,
    });
    return this;
  }

  async ended(timeoutMs?: number): Promise<this> {
    return this.until((connection) => connection.hasEnded, timeoutMs);
  }

  /** The JSON lines behind the head. */
  get payloads(): Record<string, unknown>[] {
    return this.rest
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  close(): void {
    this.socket.destroy();
  }
}

/** A TCP port of the loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function canConnect(path: string): Promise<true | undefined> {
  const connection = await RawConnection.open(path);
  connection.close();
  return true;
}

async function gone(child: ChildProcess | undefined): Promise<void> {
  if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
