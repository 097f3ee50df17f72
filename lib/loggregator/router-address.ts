/** Where datagrams go: a name or an address, and a port. */
export interface RouterAddress {
  host: string;
  port: number;
}

/** Takes `host:port` or `[IPv6 address]:port` apart; undefined when it is neither. */
export function parseRouterAddress(text: string): RouterAddress | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) < 1 || Number(port) > 65535) return undefined;
  return { host, port: Number(port) };
}
