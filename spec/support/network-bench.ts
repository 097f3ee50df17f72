import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createNetwork, type NetworkOptions } from '../../lib/containers/oci/network/network.js';
import type { Network, NetworkLease, NetworkRequest } from '../../lib/containers/oci/ports.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { CommandError, runCommand } from '../../lib/process/command.js';
import { eventually } from './eventually.js';

/** What a client sees: the server's greeting, or why there is none, in the words of the system. */
export type Answer = string;

/** Networks under test, and a namespace that plays the world outside the host. */
export interface NetworkBench {
  /** Three hexadecimal digits of this bench's own, to be the end of tags. */
  readonly mark: string;
  readonly pool: string;
  readonly ports: { start: number; size: number };
  readonly directory: string;
  /** Link of the host to the outside, addresses of either end, and the outside's namespace. */
  readonly outside: { link: string; hostIp: string; ip: string; namespacePath: string };
  /** Opens a network; with a tag that is in use: another engine that takes over. */
  open(tag: string, options?: Partial<NetworkOptions>): Promise<Network>;
  create(network: Network, handle: string, rest?: Partial<NetworkRequest>): Promise<NetworkLease>;
  /** A server in a namespace that greets with its name and the client's address. */
  serve(namespacePath: string, port: number, name: string): Promise<void>;
  /** A program in a namespace that is ended with the bench. */
  run(namespacePath: string, script: string): ChildProcess;
  /** Connects from a namespace, or from the host. */
  ask(address: string, port: number, namespacePath?: string): Promise<Answer>;
  /** A server on the host that greets with `host`; port 0: any. Gives its port. */
  hostListener(port: number): Promise<number>;
  /** Namespaces, links and firewall lines of an engine. */
  thingsOf(tag: string): string[];
  /** Tears all networks down and expects nothing of them to be left. */
  clear(): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}

/** @param number tells apart the benches of one process: 0 to 9 */
export async function startNetworkBench(number: number): Promise<NetworkBench> {
  const mark = `${number}${process.pid.toString(16).padStart(4, '0').slice(-2)}`;
  const ports = { start: 20_000 + (process.pid % 100) * 40 + number * 1000, size: 30 };
  const pool = `10.${240 + number}.${process.pid % 256}.0/26`;
  const link = `isth-out-${mark}`;
  const outside = {
    link,
    hostIp: `198.51.${100 + number}.1`,
    ip: `198.51.${100 + number}.2`,
    namespacePath: `/run/netns/${link}`,
  };
  const directory = mkdtempSync(join(tmpdir(), 'network-'));
  const networks = new Map<string, Network>();
  const children: ChildProcess[] = [];
  const hostServers: Server[] = [];

  const bench: NetworkBench = {
    mark,
    pool,
    ports,
    directory,
    outside,
    async open(tag, options = {}) {
      const portStateFile = join(directory, `${tag}.json`);
      const network = createNetwork({ tag, pool, ports, portStateFile, logger: silentLogger, ...options });
      networks.set(tag, network);
      await network.start();
      return network;
    },
    create: (network, handle, rest = {}) => network.create({ handle, netIn: [], netOut: [], ...rest }),
    async serve(namespacePath, port, name) {
      const program = `require('net').createServer((s) => { s.on('error', () => {}); s.end('${name} ' + s.remoteAddress); }).listen(${port}, '0.0.0.0')`;
      bench.run(namespacePath, program);
      await eventually(async () =>
        (await bench.ask('127.0.0.1', port, namespacePath)).startsWith(name) ? true : undefined,
      );
    },
    run(namespacePath, script) {
      const child = spawn('nsenter', [`--net=${namespacePath}`, process.execPath, '-e', script], { stdio: 'ignore' });
      children.push(child);
      return child;
    },
    async ask(address, port, namespacePath) {
      const script = ['bash', '-c', `exec 3<>/dev/tcp/${address}/${port} && cat <&3`];
      const command = namespacePath === undefined ? script : ['nsenter', `--net=${namespacePath}`, ...script];
      try {
        return (await runCommand(command[0]!, command.slice(1), { timeoutMs: 5_000 })).stdout;
      } catch (error) {
        return error instanceof CommandError
          ? (/: ([A-Z][a-z ]+)$/m.exec(error.stderr)?.[1] ?? error.message)
          : String(error);
      }
    },
    async hostListener(port) {
      const server = createServer((socket) => socket.end('host'));
      hostServers.push(server);
      await new Promise<void>((resolve) => server.listen(port, '0.0.0.0', resolve));
      const address = server.address();
      return typeof address === 'object' && address ? address.port : 0;
    },
    thingsOf: (tag) => [
      ...(existsSync('/run/netns') ? readdirSync('/run/netns') : []).filter((name) => name.startsWith(`isth${tag}-`)),
      ...readdirSync('/sys/class/net').filter((name) => name.startsWith(`isth${tag}-`)),
      ...execFileSync('iptables-save', { encoding: 'utf8' })
        .split('\n')
        .filter((line) => line.includes(`isthmus-${tag}-`) || line.includes(`isth${tag}-`)),
    ],
    async clear() {
      for (const server of hostServers.splice(0)) server.close();
      for (const [tag, network] of networks) {
        await network.stop();
        await createNetwork({ tag, pool, ports, portStateFile: join(directory, 'x'), logger: silentLogger }).teardown();
        expect(bench.thingsOf(tag)).to.deep.equal([]);
      }
      networks.clear();
    },
    async close() {
      for (const child of children) child.kill('SIGKILL');
      await runCommand('ip', ['-force', '-batch', '-'], { input: `netns delete ${link}\n` });
      await eventually(() => !existsSync(`/sys/class/net/${link}`) || undefined);
      rmSync(directory, { recursive: true });
    },
  };

  const hostSide = [
    `netns add ${link}`,
    `link add ${link} type veth peer name eth0 netns ${link}`,
    `addr add ${outside.hostIp}/24 dev ${link}`,
    `link set ${link} up`,
  ];
  await runCommand('ip', ['-batch', '-'], { input: `${hostSide.join('\n')}\n` });
  const inside = ['link set lo up', `addr add ${outside.ip}/24 dev eth0`, 'link set eth0 up'];
  await runCommand('ip', ['-n', link, '-batch', '-'], { input: `${inside.join('\n')}\n` });
  return bench;
}
