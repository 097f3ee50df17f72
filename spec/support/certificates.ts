import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  keyFile: string;
  certFile: string;
  key: Buffer;
  cert: Buffer;
}

export interface CertificateOptions {
  /** @default localhost */
  commonName?: string;
  /** @default none */
  organizationalUnits?: readonly string[];
  /** Such as `IP:127.0.0.1`. @default none: an old certificate, known by its common name */
  alternativeNames?: string;
  /** From now; negative: it has expired. @default 30 */
  days?: number;
}

/** A certificate authority of openssl's, in a directory of its own. */
export class CertificateAuthority {
  private counter = 0;
  readonly certFile: string;
  private readonly keyFile: string;

  private constructor(readonly directory: string) {
    this.certFile = join(directory, 'ca.crt');
    this.keyFile = join(directory, 'ca.key');
    const subject = ['-subj', '/CN=a certificate authority', '-days', '90'];
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      this.keyFile,
      '-out',
      this.certFile,
      ...subject,
    );
  }

  static create(): CertificateAuthority {
    return new CertificateAuthority(mkdtempSync(join(tmpdir(), 'certificates-')));
  }

  get cert(): Buffer {
    return readFileSync(this.certFile);
  }

  issue(options: CertificateOptions = {}): Certificate {
    const { commonName = 'localhost', organizationalUnits = [], alternativeNames, days = 30 } = options;
    const units = organizationalUnits.map((unit) => `/OU=${unit}`).join('');
    this.counter += 1;
    const path = (suffix: string) => join(this.directory, `${this.counter}.${suffix}`);
    openssl(
      ...['req', '-newkey', 'rsa:2048', '-nodes', '-keyout', path('key'), '-out', path('csr')],
      ...['-subj', `${units}/CN=${commonName}`],
    );
    writeFileSync(path('ext'), alternativeNames ? `subjectAltName=${alternativeNames}\n` : '');
    openssl(
      ...['x509', '-req', '-in', path('csr'), '-CA', this.certFile, '-CAkey', this.keyFile, '-CAcreateserial'],
      ...['-days', String(days), '-extfile', path('ext'), '-out', path('crt')],
    );
    const [keyFile, certFile] = [path('key'), path('crt')];
    return { keyFile, certFile, key: readFileSync(keyFile), cert: readFileSync(certFile) };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
