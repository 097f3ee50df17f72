import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createVolumes } from '../../../../lib/containers/oci/volumes/volumes.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { itKeepsTheVolumesContract } from './volumes-contract.js';

const KiB = 1024;
const MiB = KiB * KiB;
/** CAP_SYS_RESOURCE, without which no mounted file system grows. */
const mayGrowFileSystems = () => {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
  return (BigInt(`0x${mask}`) & (1n << 24n)) !== 0n;
};

describe('volumes of containers, each with an image of its own', () => {
  itKeepsTheVolumesContract({ driver: 'loop-image', directory: tmpdir, refusal: 'ENOSPC' });

  it('grow beyond the image where the kernel lets the engine, and say so where not', async () => {
    const base = mkdtempSync(join(tmpdir(), 'volumes-'));
    mkdirSync(join(base, 'image'));
    mkdirSync(join(base, 'app'));
    const { dev, ino } = statSync(join(base, 'image'));
    const image = {
      ...{ identity: `${dev}:${ino}`, lowerDirectories: [join(base, 'image')], layers: [], env: [] },
      ...{ annotations: {}, isRaw: false, hasMetacopy: false },
    };
    const volumes = createVolumes({
      ...{ directory: join(base, '@volumes'), driver: 'loop-image', spares: 0, logger: silentLogger },
      layers: { retain: () => {}, release: () => {} },
    });
    await volumes.start();
    const lease = await volumes.create({
      ...{ handle: 'app', directory: join(base, 'app'), image },
      ...{ bytes: 8 * MiB, inodes: 100 },
    });
    const result = await volumes.resize(lease, { bytes: 3 * KiB * MiB, inodes: 20_000 }).catch((error: Error) => error);
    if (mayGrowFileSystems()) {
      expect(result).to.include({ bytes: 3 * KiB * MiB, inodes: 20_000 });
    } else {
      expect(result).to.be.an('error').with.property('message').includes('CAP_SYS_RESOURCE');
      expect(room(join(lease.mountPoint, 'file')) / (8 * MiB)).to.be.within(1, 1.06);
    }
    await volumes.release(lease);
    await volumes.stop();
    rmSync(base, { recursive: true });
  });
});

/** Bytes that a file can grow to before the kernel refuses, at most 16 MiB. */
function room(path: string): number {
  const file = openSync(path, 'w');
  let written = 0;
  try {
    while (written < 16 * MiB) written += writeSync(file, Buffer.alloc(64 * KiB, 1));
  } catch {
    // Full.
  } finally {
    closeSync(file);
  }
  return written;
}
