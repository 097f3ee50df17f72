/** A component that proves who it is. */
export interface ComponentNames {
  /** Of its files: `<name>.crt`, `<name>.key`. */
  readonly name: string;
  readonly commonName: string;
  /** Names that peers know it by as a server. */
  readonly dnsNames: readonly string[];
}

const serviceDomain = 'service.cf.internal';

/**
 * All components with the names that BOSH gives them (docs/protocol/edge.md §7, docs/protocol/bbs.md §17). Each may be
 * server and client.
 */
export const components: readonly ComponentNames[] = [
  instances('bbs', 'bbs'),
  instances('locket', 'locket'),
  instances('auctioneer', 'auctioneer'),
  instances('cell', 'cell'),
  {
    name: 'cc-bridge',
    commonName: `cc-bridge.${serviceDomain}`,
    dnsNames: ['cc-bridge', 'cc-uploader', 'stager', 'nsync', 'tps'].map((service) => `${service}.${serviceDomain}`),
  },
  instances('route-emitter', 'route-emitter'),
  instances('ssh-proxy', 'ssh-proxy'),
  instances('file-server', 'file-server'),
  // Clients of its gRPC service know it by this name alone.
  { name: 'metron', commonName: 'metron', dnsNames: ['metron'] },
  { name: 'client', commonName: 'client', dnsNames: [] },
];

/** What each certificate is good for beside its own names: all components run on one machine in development. */
export const localNames = { dnsNames: ['localhost'], addresses: ['127.0.0.1', '::1'] } as const;

/** A service by its name, and each of its instances below it. */
function instances(name: string, service: string): ComponentNames {
  const host = `${service}.${serviceDomain}`;
  return { name, commonName: host, dnsNames: [host, `*.${host}`] };
}
