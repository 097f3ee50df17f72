import type { ContainerInfo, ContainerMetrics, Limits, NetOutRule, ProcessSpec } from '../../engine.js';
import { InvalidSpecError } from '../../errors.js';
import type { RequestFields, Response } from '../protocol/messages.js';

const nsPerTick = 10_000_000;

/** Who jobs can run as: Warden knows no other users. */
export type WardenUser = 'root' | 'vcap';

/** @throws InvalidSpecError for anybody else than `root` (also when absent) and `vcap` */
export function wardenUser(user: string | undefined): WardenUser {
  if (user === undefined || user === '' || user === 'root') return 'root';
  if (user === 'vcap') return 'vcap';
  throw new InvalidSpecError(`user: Warden runs processes as root or vcap, not as ${JSON.stringify(user)}`);
}

/** @throws InvalidSpecError for what Warden has no words for */
export function expectJob(spec: ProcessSpec): void {
  if (spec.tty) throw new InvalidSpecError('tty: Warden has no terminals');
  for (const field of ['image', 'bindMounts', 'limits'] as const) {
    if (spec[field] !== undefined) throw new InvalidSpecError(`${field}: Warden has none for single processes`);
  }
}

/** @throws InvalidSpecError */
export function expectLimits(limits: Limits): void {
  if (limits.disk?.scope === 'total') {
    throw new InvalidSpecError('limits.disk.scope: Warden limits what a container writes, not its image');
  }
}

/** The NetOut requests for a rule: networks times ports, in an order that puts the first in front. */
export function netOutRequests(rule: NetOutRule): Omit<RequestFields<'NetOut'>, 'handle'>[] {
  const protocol = ({ tcp: 'TCP', udp: 'UDP', icmp: 'ICMP', all: 'ALL' } as const)[rule.protocol];
  const networks = rule.networks?.length
    ? rule.networks.map(({ start, end }) => (start === end ? start : `${start}-${end}`))
    : ['0.0.0.0/0'];
  const ports = rule.ports?.length ? rule.ports : [undefined];
  const { icmp } = rule;
  return networks.flatMap((network) =>
    ports.map((port) => ({
      network,
      protocol,
      ...(port && (port.start === port.end ? { port: port.start } : { portRange: `${port.start}:${port.end}` })),
      ...(icmp && { icmpType: icmp.type === 255 ? -1 : icmp.type, icmpCode: icmp.code ?? -1 }),
      ...(rule.log && { log: true }),
    })),
  );
}

/** What Warden tells of a container, as the engine's; the rest is the client's own. */
export function readInfo(
  info: Response<'Info'>,
  own: Pick<ContainerInfo, 'processIds' | 'properties' | 'mappedPorts' | 'externalIp'>,
): ContainerInfo {
  return {
    state: info.state === 'active' ? 'active' : 'stopped',
    events: info.events,
    hostIp: info.hostIp ?? '',
    containerIp: info.containerIp ?? '',
    containerPath: info.containerPath ?? '',
    ...own,
  };
}

/** Figures of a container; Warden counts neither processes nor traffic. */
export function readMetrics(info: Response<'Info'>, ageMs: number): ContainerMetrics {
  const { memoryStat = {}, cpuStat = {}, diskStat = {} } = info;
  const [rssBytes, cacheBytes] = [memoryStat.totalRss ?? 0, memoryStat.totalCache ?? 0];
  const [inactiveFileBytes, swapBytes] = [memoryStat.totalInactiveFile ?? 0, memoryStat.totalSwap ?? 0];
  return {
    memory: {
      usageBytes: Math.max(0, rssBytes + cacheBytes + swapBytes - inactiveFileBytes),
      rssBytes,
      cacheBytes,
      inactiveFileBytes,
      swapBytes,
      counters: Object.fromEntries(Object.entries(memoryStat).map(([name, value]) => [snakeCase(name), value])),
    },
    cpu: {
      usageNs: cpuStat.usage ?? 0,
      ...(cpuStat.user !== undefined && { userNs: cpuStat.user * nsPerTick }),
      ...(cpuStat.system !== undefined && { systemNs: cpuStat.system * nsPerTick }),
    },
    disk: { bytesUsed: diskStat.bytesUsed ?? 0, inodesUsed: diskStat.inodesUsed ?? 0 },
    imageBytes: 0,
    pids: { current: 0, max: 0 },
    ageMs,
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
