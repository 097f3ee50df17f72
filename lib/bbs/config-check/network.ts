import { error, type Finding, note, warning } from '../../config/finding.js';
import { bindFault, type Endpoint, endpointOf, tcpFault } from '../../http/reachability.js';
import type { BbsConfig } from '../config.js';
import { createLocketClient } from '../locks.js';

/** Of a Locket, or of a board that runs already. */
const answerLimitMs = 3000;

/** Peers that do not answer. They may come later, so nothing of this is an error. */
export async function checkPeers(config: BbsConfig): Promise<Finding[]> {
  const findings = await Promise.all([checkAuctioneer(config), checkLocket(config)]);
  return findings.filter((finding) => finding !== undefined);
}

/** Ports that others have, or that the file gives out twice. */
export async function checkPorts(config: BbsConfig): Promise<Finding[]> {
  if (await isRunning(config.health_address)) {
    return [warning('health_address: a board answers there; ports were not tried out')];
  }
  const wanted = portsOf(config).filter(([, { port }]) => port !== 0);
  const findings = await Promise.all(
    wanted.map(async ([key, endpoint], position) => {
      const twin = wanted.slice(0, position).find(([, { port }]) => port === endpoint.port);
      if (twin) return error(`${key}: ${endpoint.port} is also ${twin[0]}`);
      const fault = await bindFault(endpoint);
      return fault === undefined ? undefined : error(`${key}: ${fault}`);
    }),
  );
  return findings.filter((finding) => finding !== undefined);
}

function portsOf(config: BbsConfig): [key: string, Endpoint][] {
  const { listen_address: api, health_address: health, embedded_locket_address: locket } = config;
  const ports: [string, Endpoint][] = [
    ['listen_address', api],
    ['health_address', health],
  ];
  return locket ? [...ports, ['embedded_locket_address', locket]] : ports;
}

async function isRunning({ host, port }: Endpoint): Promise<boolean> {
  if (port === 0) return false;
  const name = host.includes(':') ? `[${host}]` : host;
  try {
    const signal = AbortSignal.timeout(answerLimitMs);
    const answer = await fetch(`http://${name}:${port}/metrics`, { signal });
    return (await answer.text()).includes('\nbbs_lock_held ');
  } catch {
    // Whoever has the port, it is no board.
    return false;
  }
}

async function checkAuctioneer({ auctioneer_address: address }: BbsConfig): Promise<Finding | undefined> {
  const endpoint = endpointOf(address);
  const fault = await tcpFault(endpoint);
  if (fault === undefined) return undefined;
  return warning(`auctioneer_address: ${endpoint.host}:${endpoint.port} does not answer (${fault})`);
}

async function checkLocket(config: BbsConfig): Promise<Finding | undefined> {
  if (config.locket_address === '') return undefined;
  let client: ReturnType<typeof createLocketClient>;
  try {
    client = createLocketClient(config);
  } catch {
    // The files are at fault, which is told of them.
    return undefined;
  }
  try {
    const lock = await client.fetch('bbs', { timeoutMs: answerLimitMs });
    return note(`locket_address: answers; ${lock ? `${lock.owner} has the lock` : 'nobody has the lock'}`);
  } catch (cause) {
    return warning(`locket_address: ${(cause as Error).message}; without it the board stays passive`);
  } finally {
    await client.stop();
  }
}
