import type { NetOutRule, PortMapping } from '../../../engine.js';
import { InvalidSpecError } from '../../../errors.js';
import { netOutMatches } from './net-out.js';

/** Lines for `iptables-restore --noflush`, by table. */
export interface FirewallChange {
  nat: string[];
  filter: string[];
}

/** What holds for all containers of an engine. */
export interface FirewallPolicy {
  /** Marks chains and links as this engine's; lower-case hexadecimal. */
  tag: string;
  /** CIDR that the containers' addresses come from. */
  pool: string;
  /** Networks that containers reach only by a NetOut rule. */
  denyNetworks: string[];
  /** Networks, parts of denied ones, that containers reach all the same. */
  allowNetworks: string[];
  /** Containers may connect to the host itself. */
  allowHostAccess: boolean;
  /** Name servers on the host that containers may ask although the host is closed to them. */
  dnsServers: string[];
}

/** What the rules of one container follow from. */
export interface FirewallContainer {
  /** Unique in the engine; link and chains carry it. */
  id: string;
  handle: string;
  containerIp: string;
  /** Where its packets come from when it shares a subnet; absent: a link of its own. */
  bridge?: string;
  mappedPorts: PortMapping[];
  netOut: NetOutRule[];
}

/** A subnet that containers share. */
export interface FirewallSubnet {
  cidr: string;
  bridge: string;
}

/** All that an engine's rules follow from, besides its policy. */
export interface FirewallContent {
  containers: FirewallContainer[];
  subnets: FirewallSubnet[];
}

/** Prefix of the links of every engine on this host, whatever its tag. */
const anyEngine = 'isth';
const logPrefixLength = 28;
const longestComment = 255;
/** What the kernel takes in about a second. */
const mostNetOutLines = 10_000;

export const emptyChange: FirewallChange = { nat: [], filter: [] };

/** Name of a container's host-side link and of its network namespace, or of a bridge: at most 15 characters. */
export function interfaceName(tag: string, id: string): string {
  return `${interfacePrefix(tag)}${id}`;
}

/** Names of links and namespaces of this engine begin with this. */
export function interfacePrefix(tag: string): string {
  return `${anyEngine}${tag}-`;
}

function chainPrefix(tag: string): string {
  return `isthmus-${tag}-`;
}

function chainsOf(tag: string) {
  const prefix = chainPrefix(tag);
  return {
    input: `${prefix}input`,
    inward: `${prefix}inward`,
    outward: `${prefix}outward`,
    default: `${prefix}default`,
    mapped: `${prefix}mapped`,
    postrouting: `${prefix}postrouting`,
    siblings: `${prefix}siblings`,
    leaving: `${prefix}leaving`,
    container: (id: string) => `${prefix}${id}`,
    log: (id: string) => `${prefix}${id}-log`,
  };
}

/** Joins changes in order. */
export function mergeChanges(changes: FirewallChange[]): FirewallChange {
  return { nat: changes.flatMap(({ nat }) => nat), filter: changes.flatMap(({ filter }) => filter) };
}

/** The text for `iptables-restore --noflush`; empty when there is nothing to do. */
export function renderChange({ nat, filter }: FirewallChange): string {
  const table = (name: string, lines: string[]) => (lines.length > 0 ? `*${name}\n${lines.join('\n')}\nCOMMIT\n` : '');
  return table('nat', nat) + table('filter', filter);
}

/**
 * Makes the chains that all containers share, or brings them up to date, and leaves what concerns single containers
 * untouched. `saved` is the output of `iptables-save`.
 *
 *     INPUT    -i isth<tag>-+  -> input     answers pass, the rest is refused (or let in)
 *     FORWARD  -o isth<tag>-+  -> inward    siblings on a shared subnet, answers and mapped ports pass, the rest is refused
 *              -i isth<tag>-+  -> outward   answers pass; NetOut rules of the container; allowed networks pass, denied
 *                                           ones are refused; the rest passes
 *     PREROUTING, OUTPUT       -> mapped    DNAT of the mapped ports, for every local address
 *     POSTROUTING              -> postrouting  MASQUERADE; for shared subnets in the chain `leaving`
 */
export function commonRules(policy: FirewallPolicy, saved: string): FirewallChange {
  const chains = chainsOf(policy.tag);
  const links = `${interfacePrefix(policy.tag)}+`;
  const lines = new Set(saved.split('\n'));
  const exists = (chain: string) => saved.includes(`\n:${chain} `);
  return {
    nat: [
      ...(exists(chains.leaving) ? [] : chain(chains.leaving, [])),
      ...chain(chains.postrouting, [
        // From the host's loopback, and to a container from itself or its like through a mapped port: the answer must
        // come back through the host.
        `-s 127.0.0.0/8 -o ${links} -j MASQUERADE`,
        `-s ${policy.pool} -o ${links} -m conntrack --ctstate DNAT -j MASQUERADE`,
        `-s ${policy.pool} ! -o ${links} -j MASQUERADE`,
        `-j ${chains.leaving}`,
      ]),
      ...(exists(chains.mapped) ? [] : chain(chains.mapped, [])),
      ...jumps(policy.tag).nat.flatMap((jump) => (lines.has(`-A ${jump}`) ? [] : [`-I ${jump}`])),
    ],
    filter: [
      ...chain(chains.input, [
        '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        ...policy.dnsServers.flatMap((server) =>
          ['udp', 'tcp'].map((protocol) => `-d ${server} -p ${protocol} -m ${protocol} --dport 53 -j ACCEPT`),
        ),
        policy.allowHostAccess ? '-j ACCEPT' : '-j REJECT --reject-with icmp-host-prohibited',
      ]),
      ...(exists(chains.siblings) ? [] : chain(chains.siblings, [])),
      ...chain(chains.inward, [
        `-j ${chains.siblings}`,
        '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        '-m conntrack ! --ctstate DNAT -j REJECT --reject-with icmp-host-prohibited',
        // From another container: that one's own rules decide.
        `-i ${anyEngine}+ -j RETURN`,
        '-j ACCEPT',
      ]),
      ...chain(chains.default, [
        ...policy.allowNetworks.map((network) => `-d ${network} -j ACCEPT`),
        ...policy.denyNetworks.map((network) => `-d ${network} -j REJECT --reject-with icmp-port-unreachable`),
        '-j ACCEPT',
      ]),
      ...(exists(chains.outward) ? [] : chain(chains.outward, outwardFrame(policy.tag))),
      ...jumps(policy.tag).filter.flatMap((jump) => (lines.has(`-A ${jump}`) ? [] : [`-I ${jump}`])),
    ],
  };
}

/**
 * Brings everything of ours to exactly these containers and subnets in one transaction: rules that are missing come
 * back, strays of a crash go. `saved` is the output of `iptables-save`.
 */
export function resetRules(
  policy: FirewallPolicy,
  { containers, subnets }: FirewallContent,
  saved: string,
): FirewallChange {
  const chains = chainsOf(policy.tag);
  const common = commonRules(policy, saved);
  const wanted = mergeChanges([
    ...containers.map((container) => containerRules(policy, container)),
    ...subnets.map((subnet) => subnetRules(policy.tag, subnet)),
  ]);
  const kept = new Set(containers.filter(hasChain).flatMap(({ id }) => [chains.container(id), chains.log(id)]));
  const strays = containerChains(policy.tag, saved).filter((name) => !kept.has(name));
  return {
    nat: [...common.nat, ...chain(chains.leaving, []), ...chain(chains.mapped, []), ...wanted.nat],
    filter: [
      ...common.filter,
      ...chain(chains.siblings, []),
      ...chain(chains.outward, outwardFrame(policy.tag)),
      ...wanted.filter,
      ...strays.map((name) => `-F ${name}`),
      ...strays.map((name) => `-X ${name}`),
    ],
  };
}

/** Removes every chain and jump of ours that `saved` shows. */
export function removeAllRules(tag: string, saved: string): FirewallChange {
  const table = (name: 'nat' | 'filter') => {
    const section = saved.split(`*${name}\n`)[1]?.split('COMMIT')[0] ?? '';
    const lines = section.split('\n');
    const names = lines
      .filter((line) => line.startsWith(`:${chainPrefix(tag)}`))
      .map((line) => line.slice(1).split(' ')[0]!);
    const present = jumps(tag)[name].filter((jump) => lines.includes(`-A ${jump}`));
    return [
      ...present.map((jump) => `-D ${jump}`),
      ...names.map((chainName) => `-F ${chainName}`),
      ...names.map((chainName) => `-X ${chainName}`),
    ];
  };
  return { nat: table('nat'), filter: table('filter') };
}

/** All rules of a container that has none yet. Empty for one without mapped ports and NetOut rules. */
export function containerRules(policy: FirewallPolicy, container: FirewallContainer): FirewallChange {
  return mergeChanges([
    mapPorts(policy.tag, container, container.mappedPorts),
    netOutRules(policy.tag, { ...container, netOut: [] }, container.netOut),
  ]);
}

/** Undoes `containerRules`. */
export function removeContainerRules(tag: string, container: FirewallContainer): FirewallChange {
  const chains = chainsOf(tag);
  const own = [chains.container(container.id), chains.log(container.id)];
  return {
    nat: container.mappedPorts.map((mapping) => `-D ${chains.mapped} ${dnat(container, mapping)}`),
    filter: hasChain(container)
      ? [
          `-D ${chains.outward} ${entry(tag, container)}`,
          ...own.map((name) => `-F ${name}`),
          ...own.map((name) => `-X ${name}`),
        ]
      : [],
  };
}

/** Lets the containers of a shared subnet reach each other, and go out under an address of the host. */
export function subnetRules(tag: string, subnet: FirewallSubnet): FirewallChange {
  return subnetLines(tag, subnet, '-A');
}

/** Undoes `subnetRules`. */
export function removeSubnetRules(tag: string, subnet: FirewallSubnet): FirewallChange {
  return subnetLines(tag, subnet, '-D');
}

function subnetLines(tag: string, { cidr, bridge }: FirewallSubnet, command: '-A' | '-D'): FirewallChange {
  const { siblings, leaving } = chainsOf(tag);
  const links = `${interfacePrefix(tag)}+`;
  return {
    nat: [
      `${command} ${leaving} -s ${cidr} -o ${links} -m conntrack --ctstate DNAT -j MASQUERADE`,
      `${command} ${leaving} -s ${cidr} ! -o ${links} -j MASQUERADE`,
    ],
    // Only where the host filters bridged packets, too, do they come by here.
    filter: [`${command} ${siblings} -i ${bridge} -o ${bridge} -j ACCEPT`],
  };
}

/** Adds port mappings: TCP, on every address of the host. */
export function mapPorts(tag: string, container: FirewallContainer, mappings: PortMapping[]): FirewallChange {
  const { mapped } = chainsOf(tag);
  return { nat: mappings.map((mapping) => `-A ${mapped} ${dnat(container, mapping)}`), filter: [] };
}

/**
 * Adds NetOut rules to those that `container` has: the newest stands in front, the last of `added` first. The
 * container's chain is written anew as a whole.
 *
 * @throws InvalidSpecError naming what is wrong with a rule
 */
export function netOutRules(tag: string, container: FirewallContainer, added: NetOutRule[]): FirewallChange {
  if (added.length === 0) return emptyChange;
  const chains = chainsOf(tag);
  const { id, handle } = container;
  const rules = [...container.netOut, ...added].reverse();
  const lines = rules.flatMap((rule) =>
    netOutMatches(rule).map((match) =>
      [match, comment(handle), rule.log ? `-g ${chains.log(id)}` : '-j ACCEPT'].filter(Boolean).join(' '),
    ),
  );
  if (lines.length > mostNetOutLines) {
    throw new InvalidSpecError(`netOut: more than ${mostNetOutLines} pairs of networks and ports`);
  }
  const prefix = `"${handle.slice(0, logPrefixLength)} "`;
  return {
    nat: [],
    filter: [
      ...chain(chains.log(id), [
        `-m conntrack --ctstate INVALID,NEW,UNTRACKED -j LOG --log-prefix ${prefix}`,
        '-j ACCEPT',
      ]),
      ...chain(chains.container(id), [...lines, `-g ${chains.default}`]),
      // Behind the rule for established connections, which stands first.
      ...(hasChain(container) ? [] : [`-I ${chains.outward} 2 ${entry(tag, container)}`]),
    ],
  };
}

function dnat(container: FirewallContainer, { hostPort, containerPort }: PortMapping): string {
  const target = `${container.containerIp}:${containerPort}`;
  return `-p tcp -m tcp --dport ${hostPort} ${comment(container.handle)} -j DNAT --to-destination ${target}`;
}

/** Sends a container's packets to its own chain. */
function entry(tag: string, { id, bridge, containerIp }: FirewallContainer): string {
  const source = bridge === undefined ? `-i ${interfaceName(tag, id)}` : `-s ${containerIp}/32 -i ${bridge}`;
  return `${source} -g ${chainsOf(tag).container(id)}`;
}

function outwardFrame(tag: string): string[] {
  return ['-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT', `-j ${chainsOf(tag).default}`];
}

/** Jumps from the built-in chains, spelled as `iptables-save` does. */
function jumps(tag: string): FirewallChange {
  const chains = chainsOf(tag);
  const links = `${interfacePrefix(tag)}+`;
  return {
    nat: [
      `PREROUTING -m addrtype --dst-type LOCAL -j ${chains.mapped}`,
      `OUTPUT -m addrtype --dst-type LOCAL -j ${chains.mapped}`,
      `POSTROUTING -j ${chains.postrouting}`,
    ],
    filter: [
      `INPUT -i ${links} -j ${chains.input}`,
      // Each is inserted in front: `inward` comes to stand before `outward`, whose verdict is the last one.
      `FORWARD -i ${links} -j ${chains.outward}`,
      `FORWARD -o ${links} -j ${chains.inward}`,
    ],
  };
}

function hasChain(container: FirewallContainer): boolean {
  return container.netOut.length > 0;
}

/** Chains of single containers that `saved` shows. */
function containerChains(tag: string, saved: string): string[] {
  return [...saved.matchAll(new RegExp(`^:(${chainPrefix(tag)}s?\\d+(?:-log)?) `, 'gm'))].map((match) => match[1]!);
}

/** Declares a chain, which empties one that exists, and fills it. */
function chain(name: string, rules: string[]): string[] {
  return [`:${name} - [0:0]`, ...rules.map((rule) => `-A ${name} ${rule}`)];
}

function comment(handle: string): string {
  return `-m comment --comment "${handle.slice(0, longestComment).replace(/["\\\n]/g, '')}"`;
}
