import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { parseServerAddress } from '../../bus/server-address.js';
import { error, type Finding, warning } from '../../config/finding.js';
import { bindFault, connectionFault, type Endpoint, endpointOf, tcpFault } from '../../http/reachability.js';
import { checkServerIdentity, tlsOfOldPeers } from '../../http/tls.js';
import { type DeaConfig, natsServers } from '../config.js';

interface Listening {
  key: string;
  host: string;
  port: number;
}

/** Ports that others have, or that the file gives out twice. */
export async function checkPorts(config: DeaConfig, localIp: string): Promise<Finding[]> {
  const wanted = portsOf(config, localIp).filter(({ port }) => port !== 0);
  const findings = await Promise.all(
    wanted.map(async (listening, position) => {
      const twin = wanted.slice(0, position).find(({ port }) => port === listening.port);
      if (twin) return error(`${listening.key}: ${listening.port} is also ${twin.key}`);
      const fault = await bindFault(listening);
      return fault === undefined ? undefined : error(`${listening.key}: ${fault}`);
    }),
  );
  return findings.filter((finding) => finding !== undefined);
}

function portsOf(config: DeaConfig, localIp: string): Listening[] {
  const { ssl, status, directory_server: directoryServer, legacy_protocols: protocols } = config;
  return [
    { key: 'directory_server.file_api_port', host: '127.0.0.1', port: directoryServer.file_api_port },
    ...(directoryServer.external
      ? []
      : [{ key: 'directory_server.v2_port', host: directoryServer.address, port: directoryServer.v2_port }]),
    ...(ssl ? [{ key: 'ssl.port', host: '0.0.0.0', port: ssl.port }] : []),
    ...(status.port !== undefined && protocols.includes('vcap.component')
      ? [{ key: 'status.port', host: localIp, port: status.port }]
      : []),
  ];
}

/** Peers that do not answer. They may come later, so nothing of this is an error. */
export async function checkPeers(config: DeaConfig): Promise<Finding[]> {
  const { hm9000, cc_url: ccUrl } = config;
  const servers = natsServers(config).map((uri, index) => checkNats(natsKey(config, index), uri));
  const findings = await Promise.all([
    ...servers,
    hm9000 ? checkHm9000(hm9000) : undefined,
    ccUrl === undefined ? undefined : checkTcp('cc_url', endpointOf(ccUrl)),
  ]);
  return findings.filter((finding) => finding !== undefined);
}

function natsKey(config: DeaConfig, index: number): string {
  return config.nats_servers === undefined ? 'nats_uri' : `nats_servers[${index}]`;
}

async function checkNats(key: string, uri: string): Promise<Finding | undefined> {
  try {
    const { address } = parseServerAddress(uri);
    const { hostname, port } = new URL(`tcp://${address}`);
    return await checkTcp(key, { host: hostname, port: Number(port) });
  } catch {
    return error(`${key}: must be nats://user:password@host:port`);
  }
}

async function checkTcp(key: string, { host, port }: Endpoint): Promise<Finding | undefined> {
  const fault = await tcpFault({ host, port });
  return fault === undefined ? undefined : warning(`${key}: ${host}:${port} does not answer (${fault})`);
}

async function checkHm9000(config: NonNullable<DeaConfig['hm9000']>): Promise<Finding | undefined> {
  const { host, port } = endpointOf(config.listener_uri);
  let socket: Socket;
  try {
    socket = connectSecurely({
      ...tlsOfOldPeers,
      checkServerIdentity,
      host,
      port,
      key: readFileSync(config.key_file),
      cert: readFileSync(config.cert_file),
      ca: readFileSync(config.ca_file),
    });
  } catch {
    // The files are at fault, which is told of them.
    return undefined;
  }
  const fault = await connectionFault(socket, 'secureConnect');
  return fault === undefined
    ? undefined
    : warning(`hm9000.listener_uri: no TLS connection to ${host}:${port} (${fault})`);
}
