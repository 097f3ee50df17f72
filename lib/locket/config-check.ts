import { existsSync } from 'node:fs';
import { error, type Finding, formatReport, note, warning } from '../config/finding.js';
import { ConfigError, parseConfig, readConfigFile } from '../config/load.js';
import { describeUnknownKey, unknownKeys } from '../config/unknown-keys.js';
import { checkPemFiles } from '../http/pem-check.js';
import { bindFault, type Endpoint } from '../http/reachability.js';
import { silentLogger } from '../logging/logger.js';
import { type LocketConfig, locketConfigSchema } from './config.js';
import { openStore } from './open-store.js';

/** Of a Locket that runs already. */
const answerLimitMs = 3000;

/**
 * What `bin/locket CONFIG --check` says: every mistake of the file at once, then what of certificates, ports and store
 * does not fit it. A Locket of this file that runs keeps its ports and its directory to itself: they are not tried out.
 */
export async function checkConfigFile(path: string): Promise<{ text: string; isFit: boolean }> {
  const findings = await findingsOf(path);
  return { text: formatReport(path, findings), isFit: findings.every(({ severity }) => severity !== 'error') };
}

async function findingsOf(path: string): Promise<Finding[]> {
  let document: unknown;
  let config: LocketConfig;
  const misspelt = () => unknownKeys(document, locketConfigSchema).map((key) => warning(describeUnknownKey(key)));
  try {
    document = readConfigFile(path);
    config = parseConfig(path, document, locketConfigSchema);
  } catch (cause) {
    if (cause instanceof ConfigError) return [...cause.problems.map(error), ...misspelt()];
    return [error((cause as Error).message)];
  }
  return [...misspelt(), ...checkCertificates(config), ...(await checkSurroundings(config))];
}

function checkCertificates({ ca_file, cert_file, key_file }: LocketConfig): Finding[] {
  const file = (key: string, path: string) => ({ key, path });
  const files = { ca: file('ca_file', ca_file), cert: file('cert_file', cert_file), key: file('key_file', key_file) };
  return checkPemFiles(files, Date.now());
}

async function checkSurroundings(config: LocketConfig): Promise<Finding[]> {
  const { listen_address: listen, debug_address: debug } = config;
  if (debug && (await isRunning(debug))) {
    const running = warning('debug_address: a Locket answers there; ports were not tried out');
    return config.data_directory === undefined ? [running, ...(await checkStore(config))] : [running];
  }
  const faults = [
    await portFault('listen_address', listen),
    ...(debug ? [await portFault('debug_address', debug)] : []),
  ];
  return [...faults.filter((fault) => fault !== undefined), ...(await checkStore(config))];
}

async function isRunning({ host, port }: Endpoint): Promise<boolean> {
  if (port === 0) return false;
  const name = host.includes(':') ? `[${host}]` : host;
  try {
    const answer = await fetch(`http://${name}:${port}/metrics`, { signal: AbortSignal.timeout(answerLimitMs) });
    return (await answer.text()).includes('\nlocket_requests_started_total');
  } catch {
    // Whoever has the port, it is no Locket.
    return false;
  }
}

async function portFault(key: string, endpoint: Endpoint): Promise<Finding | undefined> {
  const fault = endpoint.port === 0 ? undefined : await bindFault(endpoint);
  return fault === undefined ? undefined : error(`${key}: ${fault}`);
}

/** Opens it, and makes what is missing in it; but leaves no directory behind that was not there. */
async function checkStore(config: LocketConfig): Promise<Finding[]> {
  const { data_directory: directory } = config;
  if (directory !== undefined && !existsSync(directory)) {
    return [note(`data_directory: ${directory} is not there yet: it will be made`)];
  }
  try {
    const { close } = await openStore({ config, onFailure() {}, logger: silentLogger });
    await close();
    return [note('the store can be used')];
  } catch (cause) {
    return [error(`the store cannot be used: ${(cause as Error).message}`)];
  }
}
