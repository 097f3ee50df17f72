import { error, type Finding } from '../../config/finding.js';
import { checkAuthorities, checkPemFiles, firstCertificate } from '../../http/pem-check.js';
import type { BbsConfig } from '../config.js';

/** Keys of the files of an identity: whom it believes, and who it is. */
const identities = [
  ['ca_file', 'cert_file', 'key_file'],
  ['auctioneer_ca_cert', 'auctioneer_client_cert', 'auctioneer_client_key'],
  ['rep_ca_cert', 'rep_client_cert', 'rep_client_key'],
  ['locket_ca_cert_file', 'locket_client_cert_file', 'locket_client_key_file'],
] as const;

/** Certificates that cannot be read, do not fit their keys, are out of date, or of another kind than RSA. */
export function checkCertificates(config: BbsConfig, nowMs: number): Finding[] {
  const ofIdentities = identities
    .filter(([, cert]) => config[cert] !== '')
    .flatMap(([ca, cert, key]) => {
      const [caPath, certPath, keyPath] = [config[ca], config[cert], config[key]];
      const files = { ca: { key: ca, path: caPath }, cert: { key: cert, path: certPath }, key: { key, path: keyPath } };
      return [...checkPemFiles(files, nowMs), ...checkKind(cert, certPath)];
    });
  const { sql_ca_cert_file: path } = config;
  return [...ofIdentities, ...(path === '' ? [] : checkAuthorities({ key: 'sql_ca_cert_file', path }, nowMs))];
}

/** All suites of TLS 1.2 that components speak are of RSA (docs/protocol/bbs.md §1). */
function checkKind(key: string, path: string): Finding[] {
  try {
    const { asymmetricKeyType: kind } = firstCertificate(path).publicKey;
    return kind === 'rsa' ? [] : [error(`${key}: has a key of the kind ${kind}; it must be rsa`)];
  } catch {
    // Told of the file itself.
    return [];
  }
}
