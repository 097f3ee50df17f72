import { error, type Finding, formatReport, note, warning } from '../../config/finding.js';
import { ConfigError, parseConfig, readConfigFile } from '../../config/load.js';
import { describeUnknownKey, unknownKeys } from '../../config/unknown-keys.js';
import { type BbsConfig, bbsConfigSchema, unusedKeys } from '../config.js';
import { checkCertificates } from './certificates.js';
import { checkDatabase } from './database.js';
import { checkFiles } from './files.js';
import { checkPeers, checkPorts } from './network.js';

/**
 * What `bin/bbs CONFIG --check` says: every mistake of the file at once, then what of the machine, the database and its
 * peers does not fit it. Changes nothing. While a board of this file runs, its ports are not tried out.
 */
export async function checkConfigFile(path: string): Promise<{ text: string; isFit: boolean }> {
  const findings = await findingsOf(path);
  return { text: formatReport(path, findings), isFit: findings.every(({ severity }) => severity !== 'error') };
}

async function findingsOf(path: string): Promise<Finding[]> {
  let document: unknown;
  let config: BbsConfig;
  const misspelt = () => unknownKeys(document, bbsConfigSchema).map((key) => warning(describeUnknownKey(key)));
  try {
    document = readConfigFile(path);
    config = parseConfig(path, document, bbsConfigSchema);
  } catch (cause) {
    if (cause instanceof ConfigError) return [...cause.problems.map(error), ...misspelt()];
    return [error((cause as Error).message)];
  }
  const unused = unusedKeys(config).map((key) => note(`${key}: of no effect here`));
  const surroundings = await Promise.all([
    checkCertificates(config, Date.now()),
    checkFiles(config),
    checkDatabase(config),
    checkPeers(config),
    checkPorts(config),
  ]);
  return [...misspelt(), ...unused, ...surroundings.flat()];
}
