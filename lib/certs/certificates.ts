import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../files/atomic-write.js';
import { type ComponentNames, components, localNames } from './components.js';
import { issueAuthority, issueCertificate, type Names, type Pair, type Validity } from './issue.js';
import { faultOf } from './standing.js';

export interface CertificatesOptions {
  /** Where `ca.crt`, `ca.key` and a pair of each component are. Made when it is not there. */
  directory: string;
  /** Makes all anew, the authority too. @default false */
  force?: boolean;
  /** @default the clock's */
  now?: Date;
}

/** What became of one pair of files. */
export interface Made {
  name: string;
  /** Why it was made; undefined: it was kept. */
  reason: string | undefined;
}

const dayMs = 24 * 3600 * 1000;
const lifetimeDays = { authority: 3650, component: 365 };
/** What is good for less than so long is made anew. */
const remainingDays = { authority: 366, component: 30 };
/** The clocks of virtual machines differ. */
const backdatedMs = 3600 * 1000;

/**
 * Sees to it that a directory has a development authority and a certificate of it for each component. What is there and
 * good stays; what is not is made anew, and with another authority all is.
 *
 * @throws when the directory cannot be read or written
 */
export async function makeCertificates({
  directory,
  force = false,
  now = new Date(),
}: CertificatesOptions): Promise<Made[]> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const authority = await keep('ca', directory, force, {
    fault: (pair) => faultOf(pair, { now, remainingMs: remainingDays.authority * dayMs }),
    issue: () => issueAuthority('Isthmus development CA', validity(now, lifetimeDays.authority)),
  });
  const made = await Promise.all(
    components.map(async (component) => {
      const names = namesOf(component);
      const { reason } = await keep(component.name, directory, force, {
        fault: (pair) =>
          faultOf(pair, { authority: authority.pair.cert, names, now, remainingMs: remainingDays.component * dayMs }),
        issue: () => issueCertificate(authority.pair, names, validity(now, lifetimeDays.component)),
      });
      return { name: component.name, reason };
    }),
  );
  return [{ name: 'ca', reason: authority.reason }, ...made];
}

async function keep(
  name: string,
  directory: string,
  force: boolean,
  steps: { fault(pair: Pair): string | undefined; issue(): Promise<Pair> },
): Promise<{ pair: Pair; reason: string | undefined }> {
  const [certFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  const [cert, key] = await Promise.all([readIfThere(certFile), readIfThere(keyFile)]);
  const present = cert !== undefined && key !== undefined ? { cert, key } : undefined;
  const reason = force ? 'asked for' : present ? steps.fault(present) : 'was not there';
  if (present && reason === undefined) {
    await chmod(keyFile, 0o600);
    return { pair: present, reason };
  }
  const pair = await steps.issue();
  // A crash between the two leaves a key that is not the certificate's, which the next run sees.
  await writeFileAtomically(keyFile, pair.key, { mode: 0o600 });
  await writeFileAtomically(certFile, pair.cert, { mode: 0o644 });
  return { pair, reason };
}

function namesOf({ commonName, dnsNames }: ComponentNames): Names {
  return { commonName, dnsNames: [...dnsNames, ...localNames.dnsNames], addresses: localNames.addresses };
}

function validity(now: Date, days: number): Validity {
  const notBefore = new Date(now.getTime() - backdatedMs);
  return { notBefore, notAfter: new Date(now.getTime() + days * dayMs) };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
