import { error, type Finding, formatReport, warning } from '../../config/finding.js';
import { ConfigError, ConfigFileError, parseConfig, readConfigFile } from '../../config/load.js';
import { describeUnknownKey, unknownKeys } from '../../config/unknown-keys.js';
import { localAddress } from '../../http/local-address.js';
import { type DeaConfig, deaConfigSchema } from '../config.js';
import { checkCertificates } from './certificates.js';
import { checkEngine } from './engine.js';
import { checkPeers, checkPorts } from './network.js';
import { checkPlaces } from './places.js';
import { runningAgent } from './running-agent.js';

export interface ConfigCheckOptions {
  /** Makes a real container. @default true */
  triesEngine?: boolean;
}

/**
 * What `bin/dea CONFIG --check` says: every mistake of the file at once, then what of the machine and of its peers does
 * not fit it. Leaves nothing behind. While the agent of this file runs, its ports and its engine are not tried out.
 */
export async function checkConfigFile(
  path: string,
  options: ConfigCheckOptions = {},
): Promise<{ text: string; isFit: boolean }> {
  const findings = await findingsOf(path, options);
  return { text: formatReport(path, findings), isFit: findings.every(({ severity }) => severity !== 'error') };
}

/** All findings, in the order of the questions. */
export async function findingsOf(path: string, { triesEngine = true }: ConfigCheckOptions = {}): Promise<Finding[]> {
  let document: unknown;
  try {
    document = readConfigFile(path);
  } catch (cause) {
    return [error((cause as Error).message)];
  }
  const misspelt = unknownKeys(document, deaConfigSchema).map((key) => warning(describeUnknownKey(key)));
  let config: DeaConfig;
  try {
    config = parseConfig(path, document, deaConfigSchema);
  } catch (cause) {
    if (cause instanceof ConfigError) return [...cause.problems.map(error), ...misspelt];
    if (cause instanceof ConfigFileError) return [error(cause.message)];
    throw cause;
  }
  return [...misspelt, ...(await checkSurroundings(config, triesEngine))];
}

async function checkSurroundings(config: DeaConfig, triesEngine: boolean): Promise<Finding[]> {
  const localIp = config.local_ip ?? (await localAddress());
  const [places, peers] = await Promise.all([checkPlaces(config), checkPeers(config)]);
  const findings = [...places, ...checkCertificates(config, Date.now()), ...checkTogether(config), ...peers];
  const pid = runningAgent(config.pid_filename);
  if (pid !== undefined) {
    return [...findings, warning(`pid_filename: its agent runs (pid=${pid}); ports and engine were not tried out`)];
  }
  return [
    ...findings,
    ...(await checkPorts(config, localIp)),
    ...(triesEngine ? await checkEngine(config, localIp) : []),
  ];
}

/** Keys that make sense only with others. */
function checkTogether(config: DeaConfig): Finding[] {
  const { ssl, cc_url: ccUrl, service_name: name, staging } = config;
  return [
    ...(ssl && ccUrl === undefined && staging.enabled
      ? [warning('cc_url: missing, so stagings come over NATS although ssl is given')]
      : []),
    ...(ssl && name === undefined
      ? [warning('service_name: missing, so Cloud Controllers are told the address of this machine')]
      : []),
    ...(name !== undefined && !ssl ? [warning('service_name: of no use without ssl')] : []),
  ];
}
