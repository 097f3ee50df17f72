import type { EgressRule } from '../messages.js';
import type { DiegoEgressRule } from './messages.js';

/** Security groups' rules as Diego has them, those that log last (docs/protocol/legacy-cc.md §9.1). Pure. */
export function diegoEgressRules(rules: EgressRule[]): DiegoEgressRule[] {
  const all = rules.flatMap(diegoRules);
  return [...all.filter(({ log }) => !log), ...all.filter(({ log }) => log)];
}

/** More than one where a rule names single ports and ranges. */
function diegoRules({ protocol, destination, ports, type, code, log }: EgressRule): DiegoEgressRule[] {
  const common = { protocol, destinations: [destination] };
  const logs = log && { log };
  if (protocol === 'icmp') return [{ ...common, icmp_info: { type: type ?? -1, code: code ?? -1 }, ...logs }];
  if (protocol === 'all' || ports === undefined) return [{ ...common, ...logs }];
  const parts = ports.split(',').map((part) => part.split('-').map(Number));
  const single = parts.filter((part) => part.length === 1).flat();
  const ranges = parts.filter((part) => part.length > 1);
  return [
    ...(single.length > 0 ? [{ ...common, ports: single, ...logs }] : []),
    ...ranges.map(([start, end]) => ({ ...common, port_range: { start: start!, end: end! }, ...logs })),
  ];
}
