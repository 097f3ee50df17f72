import { randomUUID } from 'node:crypto';

/** A complete start message as a Cloud Controller of 2015 sends it (docs/protocol/legacy-cc.md §3). */
export function startMessage(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  const droplet = (overrides.droplet as string | undefined) ?? randomUUID();
  const version = (overrides.version as string | undefined) ?? randomUUID();
  const limits = { mem: 64, disk: 128, fds: 1024 };
  return {
    droplet,
    name: 'web',
    stack: 'bookworm',
    uris: ['web.example.com'],
    prod: false,
    sha1: '2fd4e1c67a2d28fced849ee1bb76e7391b93eb12',
    executableFile: 'deprecated',
    executableUri: 'http://user:secret@127.0.0.1:1/staging/droplets/x/download',
    version,
    services: [],
    limits,
    env: [],
    cc_partition: 'default',
    console: false,
    debug: null,
    start_command: null,
    health_check_timeout: 20,
    index: 0,
    vcap_application: {
      limits,
      application_id: droplet,
      application_version: version,
      application_name: 'web',
      application_uris: ['web.example.com'],
      version,
      name: 'web',
      space_name: 'dev',
      space_id: randomUUID(),
      uris: ['web.example.com'],
      users: null,
    },
    egress_network_rules: [],
    ...overrides,
  };
}
