import type { NetOutProtocol, NetOutRule } from '../../engine.js';
import { InvalidSpecError } from '../../errors.js';
import { bool, integer, list, message, string } from '../json/decode.js';
import { type JsonValue, unlessZero } from '../json/encode.js';

const port = integer('uint16');
const code = integer('uint8');

/** One rule (docs/protocol/containers.md §2.3). */
export const netOutRule = message('NetOutRule', {
  protocol: integer('uint8'),
  networks: list(message('IPRange', { start: string, end: string }), 'garden.IPRange'),
  ports: list(message('PortRange', { start: port, end: port }), 'garden.PortRange'),
  icmps: message('ICMPControl', { type: code, code }),
  log: bool,
});

export const netOutRules = list(netOutRule, 'garden.NetOutRule');

/** By their numbers; 4 is ICMPv6. */
const protocols: NetOutProtocol[] = ['all', 'tcp', 'udp', 'icmp'];

/**
 * A rule for the engine; a range with only one of its ends is one address or port.
 *
 * @throws InvalidSpecError for a protocol or range that cannot be
 */
export function netOutRuleFrom(body: NonNullable<ReturnType<typeof netOutRule>>): NetOutRule {
  const protocol = protocols[body.protocol ?? 0];
  if (protocol === undefined) {
    const reason = body.protocol === 4 ? 'ICMPv6 is not supported' : 'is not within 0 to 3';
    throw new InvalidSpecError(`protocol: ${body.protocol} ${reason}`);
  }
  const networks = body.networks?.map(({ start, end }, index) => rangeFrom(start, end, `networks[${index}]`));
  const ports = body.ports?.map(({ start, end }, index) => rangeFrom(start, end, `ports[${index}]`));
  const { icmps } = body;
  return {
    protocol,
    ...(networks?.length && { networks }),
    ...(ports?.length && { ports }),
    ...(icmps && { icmp: { type: icmps.type ?? 0, ...(icmps.code !== undefined && { code: icmps.code }) } }),
    ...(body.log && { log: true }),
  };
}

export function netOutRuleBody({ protocol, networks, ports, icmp, log }: NetOutRule): JsonValue {
  return {
    protocol: unlessZero(protocols.indexOf(protocol)),
    networks,
    ports,
    icmps: icmp && { type: anyType(icmp.type), code: icmp.code === -1 ? undefined : icmp.code },
    log: log || undefined,
  };
}

/** Any type is 255 on the wire, which knows no negative numbers. */
function anyType(type: number): number {
  return type === -1 ? 255 : type;
}

function rangeFrom<End extends string | number>(
  start: End | undefined,
  end: End | undefined,
  field: string,
): { start: End; end: End } {
  const only = start || end;
  if (!only) throw new InvalidSpecError(`${field}: has neither start nor end`);
  return { start: start || only, end: end || only };
}
